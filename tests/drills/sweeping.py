"""Sweeps that run with wrong settings, and deletions while the store is unavailable."""

from tests.drills.stage import Stage, client_of, is_public, upload
from tests.support.fault_proxy import StoreProxy
from tests.support.forms import jpeg
from tests.support.proxy import Fault, Plan
from tests.support.traces import eventually

_RECIPES = 12


def changed_bucket(stage: Stage) -> str:
    """The daily sweep after S3_BUCKET was changed deletes no recipe of the former bucket."""
    other = "drills-other-bucket"
    stage.backstage.s3.create_bucket(Bucket=other)
    with stage.serving() as server, client_of(server) as client:
        recipes = upload(client, _RECIPES)
    with stage.serving({"S3_BUCKET": other}) as server, client_of(server) as client:
        recipes += upload(client)
    swept = stage.run("sweep", "--fix", "--since", "7d", "--grace", "0", S3_BUCKET=other)
    rows = len(stage.backstage.rows())
    assert rows == _RECIPES + 1, f"{rows} rows are left; {swept.stdout}{swept.stderr}"
    public = sum(is_public(recipe["location"]) for recipe in recipes[:_RECIPES])
    assert public == _RECIPES, f"{public} photos are left"
    return f"{rows} of {_RECIPES + 1} rows and all photos of the former bucket are left"


def emptied_bucket(stage: Stage) -> str:
    """A sweep of an emptied bucket deletes no row, not even with --fix-missing."""
    with stage.serving() as server, client_of(server) as client:
        upload(client, _RECIPES)
    for key in stage.backstage.objects():
        stage.backstage.s3.delete_object(Bucket=stage.backstage.bucket, Key=key)
    codes = {option: stage.run("sweep", option, "--grace", "0").returncode for option in ("--json", "--fix-missing")}
    assert codes == {"--json": 1, "--fix-missing": 3}, f"exit codes {codes}"
    assert len(stage.backstage.rows()) == _RECIPES
    return f"--fix-missing stops with exit code 3; {_RECIPES} of {_RECIPES} rows are left"


def store_away(stage: Stage) -> str:
    """A deletion that was acknowledged while the store was unavailable is done once the store is back."""
    with StoreProxy.before(stage.stack.s3_endpoint_url).running() as store:
        with stage.serving({"S3_ENDPOINT_URL": store.url}) as server, client_of(server) as client:
            [recipe] = upload(client)
            away = Plan(call="DeleteObject", fault=Fault.INTERNAL_ERROR, forever=True)
            store.script.follow(away)
            deleted = client.delete(
                f"/recipe/{recipe['id']}", headers={"Authorization": f"Bearer {recipe['manage_token']}"}
            )
            assert deleted.status_code == 204, deleted.text
            assert away.struck
            assert stage.backstage.objects() == [recipe["key"]]
        store.script.follow()
        swept = stage.run("sweep", "--fix", "--since", "1m", S3_ENDPOINT_URL=store.url)
    assert stage.backstage.nothing_is_left(), swept.stdout + swept.stderr
    return "204 while the store rejected the deletion; the next sweep deleted the photo"


def failing_store(stage: Stage) -> str:
    """Cleanups that fail are logged only if something may be left."""
    attempts = 20
    with (
        StoreProxy.before(stage.stack.s3_endpoint_url).running() as store,
        stage.serving({"S3_ENDPOINT_URL": store.url}) as server,
        client_of(server) as client,
    ):
        store.script.follow(
            *(Plan(call=call, fault=Fault.FORBIDDEN, forever=True) for call in ("PutObject", "DeleteObject"))
        )
        statuses = {
            client.post("/recipe", data={"label": "x"}, files={"photo": _PHOTO}).status_code for _ in range(attempts)
        }
        assert statuses == {503}, statuses
        assert eventually(lambda: len(stage.warned("object store failed")) >= attempts)
    warned = stage.warned("cleanup failed; the sweep will find what is left")
    assert not warned, f"{len(warned)} warnings of cleanup, although the store had rejected every upload"
    return f"{attempts} uploads that the store rejected: no warning of a cleanup"


_PHOTO = ("x.jpg", jpeg(500), "image/jpeg")
