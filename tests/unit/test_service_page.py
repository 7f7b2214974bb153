"""How the page goes over the wire; what it does is in tests/run/test_page.py."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from serving import Reply, Service, Start, starter

pytestmark = pytest.mark.unit

TASKS = ("text_classification", "image_classification", "audio_classification", "llm", "multimodal")
KEY = "pJ3vKq8ZtR5wXy2B"  # pragma: allowlist secret


@pytest.fixture(scope="module", params=TASKS)
def start(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Start]:
    """Start services of a task."""
    yield from starter(tmp_path_factory.mktemp("page"), request.param)


@pytest.fixture(scope="module")
def service(start: Start) -> Service:
    """One that wants a key: the page itself needs none."""
    return start(API_KEYS=KEY).wait_until_ready()


def files(service: Service) -> dict[str, Reply]:
    """Return the page and every file that it or another of them names."""
    found, wanted = {}, {"/"}
    while wanted:
        path = wanted.pop()
        found[path] = service.get(path)
        text = found[path].body.decode()
        named = re.findall(r'"(?:page|\.)/([\w.]+)"', text)
        wanted |= {f"/page/{name}" for name in named} - set(found)
    return found


def test_every_file_of_the_page_is_there_and_guarded(service: Service) -> None:
    found = files(service)
    assert {"/", "/page/style.css", "/page/icon.svg", "/page/task.js", "/page/service.js"} <= set(
        found
    )
    kinds = {"/": "html", "js": "javascript", "css": "css", "svg": "svg"}
    for path, reply in found.items():
        assert reply.status == 200, path
        policy = reply.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
        assert "unsafe" not in policy and "http" not in policy and "*" not in policy
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert reply.headers["cache-control"] == "no-cache"
        assert kinds[path.rpartition(".")[2]] in reply.headers["content-type"]


def test_nothing_comes_from_elsewhere_and_nothing_is_inline(service: Service) -> None:
    for path, reply in files(service).items():
        text = reply.body.decode().replace("http://www.w3.org/2000/svg", "")
        assert "http:" not in text and "https:" not in text, path
        assert not re.search(r"innerHTML|insertAdjacentHTML|document\.write|eval\(", text), path
        assert "{{" not in text and "<!-- form" not in text, path
    page = service.get("/").body.decode()
    assert re.findall(r"<script[^>]*>[^<]", page) == [] and "<style" not in page
    assert re.findall(r'\s(?:on\w+|style)="', page) == []


def test_it_is_loaded_again_only_when_it_changed(service: Service) -> None:
    for path, reply in files(service).items():
        again = service.get(path, **{"If-None-Match": reply.headers["etag"]})
        assert (again.status, again.body) == (304, b""), path
        other = service.get(path, **{"If-None-Match": '"another"'})
        assert (other.status, other.body) == (200, reply.body), path
        head = service.request("HEAD", path, None, {})
        assert (head.status, head.body) == (200, b""), path


def test_only_the_pages_own_files_can_be_had(service: Service) -> None:
    for name in ("nothing.js", "form.html", "index.html", "..%2Fpage.py", "%2e%2e/page.py", ""):
        assert service.get(f"/page/{name}").status in (401, 404), name


def test_it_can_be_switched_off(start: Start) -> None:
    service = start("--service.page", "false").wait_until_ready()
    for path in ("/", "/page/task.js"):
        reply = service.get(path)
        assert (reply.status, reply.error["code"]) == (404, "not_found")
