// usage: java HttpClientUpload.java http://127.0.0.1:8000 photo.jpg Pancakes
// java.net.http cannot build multipart forms; this code builds one, and streams the file.
import java.net.URI;
import java.net.http.*;
import java.net.http.HttpRequest.*;
import java.nio.file.*;
import java.util.UUID;

class HttpClientUpload {
    public static void main(String[] args) throws Exception {
        var photo = Path.of(args[1]);
        var boundary = UUID.randomUUID().toString();
        var head = """
            --%1$s
            Content-Disposition: form-data; name="label"

            %2$s
            --%1$s
            Content-Disposition: form-data; name="photo"; filename="%3$s"
            Content-Type: application/octet-stream

            """.formatted(boundary, args[2], photo.getFileName()).replace("\n", "\r\n");

        var request = HttpRequest.newBuilder(URI.create(args[0] + "/recipe"))
            .header("Content-Type", "multipart/form-data; boundary=" + boundary)
            .POST(BodyPublishers.concat(
                BodyPublishers.ofString(head),
                BodyPublishers.ofFile(photo),
                BodyPublishers.ofString("\r\n--" + boundary + "--\r\n")))
            .build();
        var response = HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofString());
        System.out.println(response.body());
        System.exit(response.statusCode() == 201 ? 0 : 1);
    }
}
