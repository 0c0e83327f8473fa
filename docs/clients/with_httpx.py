"""usage: python with_httpx.py http://127.0.0.1:8000 photo.jpg Pancakes"""

import sys
from pathlib import Path

import httpx

url, photo, label = sys.argv[1], Path(sys.argv[2]), sys.argv[3]

with photo.open("rb") as file:
    response = httpx.post(f"{url}/recipe", data={"label": label}, files={"photo": (photo.name, file)}, timeout=60)
response.raise_for_status()
print(response.text)
