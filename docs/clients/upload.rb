# usage: ruby upload.rb http://127.0.0.1:8000 photo.jpg Pancakes
require "net/http"

url, photo, label = ARGV

uri = URI("#{url}/recipe")
File.open(photo, "rb") do |file|
  request = Net::HTTP::Post.new(uri)
  request.set_form([["label", label], ["photo", file]], "multipart/form-data")
  response = Net::HTTP.start(uri.host, uri.port, use_ssl: uri.scheme == "https") { |http| http.request(request) }
  puts response.body
  exit response.is_a?(Net::HTTPCreated)
end
