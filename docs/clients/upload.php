<?php
// usage: php upload.php http://127.0.0.1:8000 photo.jpg Pancakes

[, $url, $photo, $label] = $argv;

$curl = curl_init("$url/recipe");
curl_setopt_array($curl, [
    CURLOPT_POSTFIELDS => ['label' => $label, 'photo' => new CURLFile($photo, 'image/jpeg', basename($photo))],
    CURLOPT_RETURNTRANSFER => true,
]);
echo curl_exec($curl);
exit(curl_getinfo($curl, CURLINFO_RESPONSE_CODE) === 201 ? 0 : 1);
