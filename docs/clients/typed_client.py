"""usage: python typed_client.py http://127.0.0.1:8000 photo.jpg Pancakes

The package is generated: openapi-python-client generate --url http://127.0.0.1:8000/openapi.json
"""

import json
import sys
from pathlib import Path

from recipe_api_client import Client
from recipe_api_client.api.recipes import upload_recipe
from recipe_api_client.models import CreatedRecipe, RecipeUpload
from recipe_api_client.types import File

url, photo, label = sys.argv[1], Path(sys.argv[2]), sys.argv[3]

with Client(base_url=url) as client, photo.open("rb") as file:
    form = RecipeUpload(label=label, photo=File(payload=file, file_name=photo.name))
    recipe = upload_recipe.sync(client=client, body=form)
if not isinstance(recipe, CreatedRecipe):
    sys.exit(f"The upload was rejected: {recipe}")
print(json.dumps(recipe.to_dict()))
