// usage: go run upload.go http://127.0.0.1:8000 photo.jpg Pancakes
package main

import (
	"io"
	"log"
	"mime/multipart"
	"net/http"
	"os"
	"path/filepath"
)

func main() {
	url, photo, label := os.Args[1], os.Args[2], os.Args[3]

	// The form is written into a pipe while it is sent, so the photo is never in memory as a whole.
	reader, writer := io.Pipe()
	form := multipart.NewWriter(writer)
	go func() { writer.CloseWithError(write(form, photo, label)) }()

	response, err := http.Post(url+"/recipe", form.FormDataContentType(), reader)
	if err != nil {
		log.Fatal(err)
	}
	defer response.Body.Close()
	io.Copy(os.Stdout, response.Body)
	if response.StatusCode != http.StatusCreated {
		os.Exit(1)
	}
}

func write(form *multipart.Writer, photo, label string) error {
	if err := form.WriteField("label", label); err != nil {
		return err
	}
	part, err := form.CreateFormFile("photo", filepath.Base(photo))
	if err != nil {
		return err
	}
	file, err := os.Open(photo)
	if err != nil {
		return err
	}
	defer file.Close()
	if _, err := io.Copy(part, file); err != nil {
		return err
	}
	return form.Close()
}
