"""The page of the service in a real browser, for each task, with a model that was trained."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from browser import chromium, visit
from journey import post
from projects import Installed
from service_page import (
    FILES,
    HOSTILE,
    QUESTION,
    ask,
    drop,
    expect_done,
    expect_output,
    facts,
    label_hostile,
    last_body,
    page_bytes,
    paste,
    said,
    say_hostile,
    stop_at_first_words,
    text_lengths,
    the_input,
    the_question,
    unlabelled,
)
from serving_projects import TASKS, Service, serving, smoke_trained

pytestmark = pytest.mark.run

CLASSIFICATION = [task for task in TASKS if task.endswith("classification")]
CHATS = ["llm", "multimodal"]
SECONDS = re.compile(r"[\d.]+ m?s")
KEYS = ("pJ3vKq8ZtR5wXy2B", "mN7cLd4FhG9sTb6Q")  # pragma: allowlist secret
PAGE_BYTES_AT_MOST = 24_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture(scope="module")
def project_of(
    browser: Browser, environment: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Installed]:
    """Make a task's project, once; nothing is made where there is no browser."""
    folder = tmp_path_factory.mktemp("page")
    return cache(lambda task: smoke_trained(folder / task, task, environment))


@pytest.fixture(scope="module")
def service(
    request: pytest.FixtureRequest, project_of: Callable[[str], Installed]
) -> Iterator[Service]:
    with serving(project_of(request.param)) as running:
        running.wait_until_ready()
        yield running


def each(*tasks: str) -> pytest.MarkDecorator:
    """Run the test with the service of each of these tasks."""
    return pytest.mark.parametrize("service", tasks, indirect=True)


@each(*CLASSIFICATION)
def test_it_shows_what_the_api_answers(service: Service, browser: Browser) -> None:
    with visit(browser, service.url) as seen:
        page = seen.page
        expect(page.locator("#state")).to_have_text("ready")
        ask(page, service)
        answer = post(f"{service.url}/v1/predict", {"inputs": [the_input(service)]})
        expect_output(page, answer["outputs"][0])
        model = answer["model"]
        expect(page.locator("h1")).to_have_text(model["name"])
        expect(page.locator("#version")).to_contain_text(model["version"])
        expect(page.locator("#version")).to_have_attribute("title", model["digest"])
        assert facts(page)["Model version"] == model["version"]
        assert SECONDS.fullmatch(facts(page)["Time, seen from here"])
        assert SECONDS.fullmatch(facts(page)["Of it in the service"])
        assert seen.errors == [] and seen.violations == []
        assert seen.origins == {service.url}


@each(*CHATS)
def test_a_chat_streams_what_the_api_answers(service: Service, browser: Browser) -> None:
    with visit(browser, service.url) as seen:
        page = seen.page
        expect(page.locator("#state")).to_have_text("ready")
        page.locator("summary").click()
        page.get_by_label("Max tokens").fill("100")
        page.get_by_label("Temperature").fill("0")
        lengths = text_lengths(page)
        ask(page, service)
        expect_done(page)

        body = {"messages": [the_question(service)], "max_tokens": 100, "temperature": 0}
        answer = post(f"{service.url}/v1/chat/completions", body)
        message = answer["choices"][0]["message"]
        assert said(page) == [QUESTION, message["content"]]
        growing = lengths.json_value()
        assert growing == sorted(growing) and len(set(growing)) > 5, growing
        assert facts(page)["Tokens"] == str(answer["usage"]["completion_tokens"])
        assert float(facts(page)["Tokens a second"]) > 0
        assert SECONDS.fullmatch(facts(page)["Time to the first token"])
        assert seen.errors == [] and seen.violations == []
        assert seen.origins == {service.url}


@each(*CHATS)
def test_a_chat_goes_on_with_what_was_said_and_the_options(
    service: Service, browser: Browser
) -> None:
    with visit(browser, service.url) as seen:
        page = seen.page
        page.locator("summary").click()
        page.get_by_label("Max tokens").fill("20")
        ask(page, service)
        expect_done(page)
        first = said(page)[1]
        page.get_by_label("System prompt").fill("Be brief.")
        page.get_by_label("Seed").fill("7")
        page.get_by_label("Temperature").fill("0.5")
        page.get_by_label("Message").fill("And then?")
        page.keyboard.press("Enter")
        expect(page.locator(".message")).to_have_count(4)
        expect_done(page)
        assert said(page)[3]

        body = last_body(seen.requests)
        assert body["messages"] == [
            {"role": "system", "content": "Be brief."},
            the_question(service),
            {"role": "assistant", "content": first},
            {"role": "user", "content": "And then?"},
        ]
        assert (body["seed"], body["temperature"], body["max_tokens"]) == (7, 0.5, 20)
        page.get_by_role("button", name="New chat").click()
        expect(page.locator(".message")).to_have_count(0)
        assert seen.errors == []


@each(*CHATS)
def test_stop_ends_the_answer_and_keeps_what_was_said(service: Service, browser: Browser) -> None:
    with visit(browser, service.url) as seen:
        page = seen.page
        page.locator("summary").click()
        page.get_by_label("Max tokens").fill("200")
        page.get_by_label("Temperature").fill("0")
        lengths = text_lengths(page)
        stop_at_first_words(page)
        ask(page, service)
        expect(page.locator(".message small")).to_have_text("stopped")
        expect_done(page)
        [*_, last] = lengths.json_value()
        page.wait_for_timeout(500)
        assert len(said(page)[1] or "") == last > 0
        assert seen.errors == []


@each("llm")
def test_an_answer_that_breaks_off_is_told_and_kept(service: Service, browser: Browser) -> None:
    with serving(service.project) as own, visit(browser, own.url) as seen:
        own.wait_until_ready()
        ask(seen.page, own)
        expect(seen.page.locator(".message.assistant > span")).not_to_be_empty()
        own.process.kill()
        expect(seen.page.get_by_role("alert")).to_contain_text("broke off")
        assert said(seen.page)[1]


@each("multimodal")
def test_a_chat_about_an_image_needs_one(service: Service, browser: Browser) -> None:
    with visit(browser, service.url) as seen:
        seen.page.get_by_label("Message").fill(QUESTION)
        seen.page.keyboard.press("Enter")
        expect(seen.page.get_by_role("alert")).to_have_text("Choose an image first.")


@each(*FILES)
def test_a_file_can_be_dropped_and_pasted(service: Service, browser: Browser) -> None:
    for give in (drop, paste):
        with visit(browser, service.url) as seen:
            give(seen.page, service)
            player = seen.page.locator(".drop img, audio")
            expect(player).to_be_visible()
            if service.project.task == "audio_classification":
                seen.page.wait_for_timeout(500)
                assert player.evaluate("audio => audio.duration") > 0.1
            else:
                assert player.evaluate("image => image.decode().then(() => image.naturalWidth)")
            if service.project.task != "multimodal":
                answer = post(f"{service.url}/v1/predict", {"inputs": [the_input(service)]})
                expect_output(seen.page, answer["outputs"][0])
            assert seen.errors == [] and seen.violations == []


@each("audio_classification")
def test_a_recording_from_the_microphone_is_classified(service: Service, browser: Browser) -> None:
    with visit(browser, service.url) as seen:
        page = seen.page
        page.get_by_role("button", name="Record").click()
        expect(page.get_by_role("button", name="Stop recording")).to_be_visible()
        page.wait_for_timeout(1500)
        page.get_by_role("button", name="Stop recording").click()
        expect(page.locator(".label")).to_be_visible()
        assert 0.5 < page.locator("audio").evaluate("audio => audio.duration") < 10
        [sent] = last_body(seen.requests)["inputs"]
        answer = post(f"{service.url}/v1/predict", {"inputs": [sent]})
        expect_output(page, answer["outputs"][0])
        assert seen.errors == [] and seen.violations == []


@each("text_classification", "image_classification", "multimodal")
def test_the_command_shown_asks_the_same(service: Service, browser: Browser) -> None:
    if not shutil.which("curl"):
        pytest.skip("curl is not installed")
    with visit(browser, service.url) as seen:
        ask(seen.page, service)
        expect(seen.page.locator("#facts")).not_to_be_empty()
        command = seen.page.locator("#curl").text_content() or ""
        sent = last_body(seen.requests)
    folder = service.project.root / Path(FILES.get(service.project.task, ("x",))[0]).parent
    answered = run(command.replace("curl ", "curl -sS ", 1), folder)
    if "inputs" in sent:
        assert json.loads(answered)["outputs"] == post(f"{service.url}/v1/predict", sent)["outputs"]
    else:
        assert answered.startswith("data: {") and answered.rstrip().endswith("data: [DONE]")


@each("text_classification", "llm")
def test_without_a_key_it_asks_for_one_and_keeps_it_in_the_tab(
    service: Service, browser: Browser
) -> None:
    with serving(service.project, API_KEYS=",".join(KEYS)) as locked:
        locked.wait_until_ready()
        with visit(browser, locked.url) as seen:
            page, field = seen.page, seen.page.get_by_label("API key")
            expect(page.locator("#state")).to_have_text("ready")
            ask(page, locked)
            expect(field).to_be_focused()
            expect(page.locator("#key-hint")).to_contain_text("wants a key")
            assert field.get_attribute("type") == "password"
            field.fill("no-key-of-theirs")
            field.press("Enter")
            expect(page.locator("#key-hint")).to_have_text("The service does not know this key.")
            field.fill(KEYS[1])
            field.press("Enter")
            expect(page.locator("#facts")).to_contain_text("Time")
            expect(field).to_be_hidden()
            page.reload()
            ask(page, locked)
            expect(page.locator("#facts")).to_contain_text("Time")
            assert KEYS[1] not in page.content()
            assert "$API_KEY" in (page.locator("#curl").text_content() or "")
            assert page.evaluate("localStorage.length + document.cookie.length") == 0
            refused = [error for error in seen.errors if "401" not in error]
            assert refused == [] and len(seen.errors) == 2, seen.errors
        with visit(browser, locked.url) as another:
            ask(another.page, locked)
            expect(another.page.get_by_label("API key")).to_be_visible()


@each("text_classification")
def test_a_refusal_is_shown_in_the_services_own_words(service: Service, browser: Browser) -> None:
    with visit(browser, service.url) as seen:
        page = seen.page
        page.get_by_label("Text").fill("a" * 30_000)
        page.get_by_role("button", name="Classify").click()
        expect(page.get_by_role("alert")).to_contain_text("characters")
        expect(page.get_by_role("alert")).to_be_in_viewport()
        overloaded = {"error": {"code": "overloaded", "message": "Too many requests wait."}}
        page.route(
            "**/v1/predict",
            lambda route: route.fulfill(status=429, json=overloaded, headers={"Retry-After": "3"}),
        )
        ask(page, service)
        expect(page.get_by_role("alert")).to_have_text("Too many requests wait. Try again in 3 s.")
        page.unroute("**/v1/predict")
        ask(page, service)
        expect(page.locator(".label")).to_be_visible()
        expect(page.locator("#error")).to_be_hidden()


@each("text_classification", "llm")
def test_what_a_model_says_is_text_and_never_html(service: Service, browser: Browser) -> None:
    with visit(browser, service.url) as seen:
        page = seen.page
        page.route("**/v1/predict", label_hostile)
        page.route("**/v1/chat/completions", say_hostile)
        ask(page, service)
        answers = page.locator(".label, .scores li span:first-child, .message.assistant > span")
        expect(answers.first).to_have_text(HOSTILE)
        assert set(answers.all_text_contents()) == {HOSTILE}
        assert page.locator(".work img").count() == 0
        assert page.evaluate("window.stolen") is None and seen.violations == []


@each("text_classification")
def test_the_policy_stops_what_is_not_the_pages_own(service: Service, browser: Browser) -> None:
    """And the other tests would notice."""
    with visit(browser, service.url) as seen:
        seen.page.evaluate("""() => {
          const script = document.createElement("script");
          script.textContent = "window.stolen = 1";
          document.body.append(script);
          document.body.insertAdjacentHTML("beforeend", '<img src="http://127.0.0.2:9/x.png">');
        }""")
        expect(seen.page.locator("body > img")).to_have_count(1)
        assert seen.page.evaluate("window.stolen") is None
        assert sorted(seen.violations) == [
            "img-src: http://127.0.0.2:9/x.png",
            "script-src-elem: inline",
        ]
        assert len(seen.errors) == 2
        assert seen.origins == {service.url, "http://127.0.0.2:9"}  # tried, and stopped


@each("text_classification")
def test_it_tells_how_the_service_is(service: Service, browser: Browser) -> None:
    draining = ("--service.drain_seconds", "8")
    with serving(service.project, *draining) as own, visit(browser, own.url) as seen:
        state = seen.page.locator("#state")
        expect(state).to_have_text("loading")
        expect(state).to_have_text("ready")
        own.process.send_signal(signal.SIGTERM)
        expect(state).to_have_text("draining")
        expect(state).to_have_text("not reachable")
        ask(seen.page, own)
        expect(seen.page.get_by_role("alert")).to_contain_text("cannot be reached")


@each(*TASKS)
def test_it_is_small_and_fits_phones_and_desks(service: Service, browser: Browser) -> None:
    for width in (390, 1280):
        with visit(browser, service.url, width=width, dark=width == 390) as seen:
            page = seen.page
            expect(page.locator("#state")).to_have_text("ready")
            ask(page, service)
            expect(page.locator("#facts")).not_to_be_empty()
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert unlabelled(page) == []
            assert page_bytes(page) < PAGE_BYTES_AT_MOST


def run(command: str, folder: Path) -> str:
    """Run a command as a shell does where the user's file lies."""
    done = subprocess.run(
        ["bash", "-c", command], cwd=folder, capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout
