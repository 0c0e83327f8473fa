"""One upload, from form to record: the only place where forms, storage and database meet."""
