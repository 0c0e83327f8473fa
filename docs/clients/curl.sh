#!/bin/sh
# usage: sh curl.sh http://127.0.0.1:8000 photo.jpg "Pancakes"
curl --fail-with-body --silent --show-error \
    --form-string "label=$3" \
    --form "photo=@\"$2\"" \
    "$1/recipe"
