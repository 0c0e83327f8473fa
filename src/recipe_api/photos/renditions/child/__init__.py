"""The child process that decodes a photo: `python -I -m recipe_api.photos.renditions.child JOB`.

Only this package imports Pillow and pillow-heif, and nothing outside imports this package, so that no decoder is ever
loaded into the web process. `confinement` limits what the process may use. `photo_input` is the photo as it arrives;
`decoders` open it, one for each type, and return rows of pixels; `resampling` shrinks them, `colour` converts them to
sRGB, `renditions` encodes them, and `thumbhash` is the placeholder. Time and memory of a rendering are mostly theirs,
but starting counts too, so that modules which are slow to import, such as dataclasses, are avoided.
"""
