// usage: java -cp okhttp.jar:okio.jar OkHttpUpload.java http://127.0.0.1:8000 photo.jpg Pancakes
import java.io.File;
import okhttp3.*;

class OkHttpUpload {
    public static void main(String[] args) throws Exception {
        var photo = new File(args[1]);
        var form = new MultipartBody.Builder()
            .setType(MultipartBody.FORM)
            .addFormDataPart("label", args[2])
            .addFormDataPart("photo", photo.getName(), RequestBody.create(MediaType.parse("image/jpeg"), photo))
            .build();
        var request = new Request.Builder().url(args[0] + "/recipe").post(form).build();
        try (var response = new OkHttpClient().newCall(request).execute()) {
            System.out.println(response.body().string());
            System.exit(response.code() == 201 ? 0 : 1);
        }
    }
}
