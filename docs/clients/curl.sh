#!/bin/sh
# usage: sh curl.sh http://127.0.0.1:8000 photo.jpg "Pancakes"
photo=$(printf '%s' "$2" | sed 's/["\\]/\\&/g') # curl removes these backslashes
curl --fail-with-body --silent --show-error \
    --form-string "label=$3" \
    --form "photo=@\"$photo\"" \
    "$1/recipe"
