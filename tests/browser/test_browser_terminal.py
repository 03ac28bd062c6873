"""The terminal of the dashboard: what programs write is drawn as an xterm would, and what is typed reaches them."""

from __future__ import annotations

import re
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped] # it has no types
from playwright.sync_api import Page, expect

pytestmark = [pytest.mark.browser, pytest.mark.slow]

ESC = "\x1b"
CSI = f"{ESC}["

SCREENS = {
    "text wraps at the edge, and not before there is more": ("abcdefgh\r\nx", ["abcdefgh", "x"]),
    "a word goes on in the next line": ("abcdefghij", ["abcdefgh", "ij"]),
    "what is full scrolls": ("1\r\n2\r\n3\r\n4\r\n5", ["2", "3", "4", "5"]),
    "a return and a backspace write over": ("abc\rX\b\bY", ["Ybc"]),
    "a tab goes to the next of eight, at most to the edge": ("a\tb", ["a      b"]),
    "the cursor goes where it is sent": (f"{CSI}3;2Hx{CSI}Ay{CSI}5Dz{CSI}2Bw", ["", "z y", " x", " w"]),
    "the cursor stays on the screen": (f"{CSI}99;99Hx{CSI}99A{CSI}99Dy", ["y", "", "", "       x"]),
    "a line is erased to its end, from its start, and whole": (
        f"abc{CSI}2G{CSI}K\r\nabc{CSI}2G{CSI}1K\r\nabc{CSI}2K",
        ["a", "  c", ""],
    ),
    "the screen is erased below and above": (f"1\r\n2\r\n3{CSI}2H{CSI}J{CSI}1H{CSI}1JX", ["X"]),
    "characters are put in, taken out and blanked": (
        f"abc{CSI}2G{CSI}@X\r\nabc{CSI}2G{CSI}P\r\nabc{CSI}G{CSI}2X",
        ["aXbc", "ac", "  c"],
    ),
    "lines are put in and taken out": (f"1\r\n2\r\n3{CSI}2H{CSI}L{CSI}1H{CSI}M", ["", "2", "3"]),
    "a region scrolls alone": (f"1\r\n2\r\n3\r\n4{CSI}2;3r{CSI}3H\nX{CSI}2HY", ["1", "Y", "X", "4"]),
    "the first line moves down at the upper edge": (f"1\r\n2{CSI}H{ESC}M0", ["0", "1", "2"]),
    "another screen comes and goes": (f"ab{CSI}?1049hxyz{CSI}?1049lc", ["abc"]),
    "a character is repeated": (f"a{CSI}3b", ["aaaa"]),
    "lines are drawn": (f"{ESC}(0lqk{ESC}(Bq", ["┌─┐q"]),
    "titles and pictures are passed over": (f"a{ESC}]0;evil\x07b{ESC}P1q#{ESC}\\c{ESC}]8;;x:y{ESC}\\d", ["abcd"]),
    "a sequence in two pieces is one, and a broken one is none": (f"a{CSI}31\x18b{CSI}>c{CSI}?9999hc", ["abc"]),
    "a wide character takes two columns and is halved by none": ("日本x\b\by", ["日 yx"]),
    "an accent goes onto its letter": ("e\u0301a\u202e\u200b!", ["e\u0301a!"]),
    "what stands is put back where it was": (f"ab{ESC}7{CSI}4Hx{ESC}8c", ["abc", "", "", "x"]),
}

LOOKS = {
    f"{CSI}1;31mred{CSI}0m no": [["red", "t-f1 t-bold"], [" no", ""]],
    f"{CSI}94;42ma{CSI}39mb{CSI}49mc": [["a", "t-f12 t-b2"], ["b", "t-b2"], ["c", ""]],
    f"{CSI}7ma{CSI}33mb{CSI}27mc": [["a", "t-fr t-br"], ["b", "t-fr t-b3"], ["c", "t-f3"]],
    f"{CSI}38;5;208ma{CSI}48;2;255;0;0mb{CSI}38:5:1m{CSI}49mc": [
        ["a", "t-f208"],
        ["b", "t-f208 t-b196"],
        ["c", "t-f1"],
    ],
    f"{CSI}44m{CSI}K": [["        ", "t-b4"]],
    f"{CSI}4ma{CSI}24;2;3mb{CSI}22mc": [["a", "t-underline"], ["b", "t-dim t-italic"], ["c", "t-italic"]],
}

KEYS = [
    ({"key": "ArrowUp"}, "", f"{CSI}A"),
    ({"key": "ArrowUp"}, f"{CSI}?1h", f"{ESC}OA"),
    ({"key": "ArrowLeft", "ctrlKey": True}, f"{CSI}?1h", f"{CSI}1;5D"),
    ({"key": "Enter"}, "", "\r"),
    ({"key": "Backspace"}, "", "\x7f"),
    ({"key": "Tab"}, "", "\t"),
    ({"key": "Tab", "shiftKey": True}, "", f"{CSI}Z"),
    ({"key": "Delete"}, "", f"{CSI}3~"),
    ({"key": "c", "ctrlKey": True}, "", "\x03"),
    ({"key": "v", "ctrlKey": True}, "", None),
    ({"key": "f", "altKey": True}, "", f"{ESC}f"),
    ({"key": "a"}, "", None),
    ({"key": "c", "metaKey": True}, "", None),
    ({"key": "F5"}, "", None),
    ({"key": "F5"}, f"{CSI}?1049h", f"{CSI}15~"),
]

MODULES = """
    const link = document.querySelector('script[type="module"]').src;
    const { Screen, nearest } = await import(new URL('screen.js', link));
    const { typed, pasted } = await import(new URL('keys.js', link));
"""


def asked(page: Page, script: str, given: object) -> Any:
    """Run a script that has the terminal's modules; return what it returns."""
    return page.evaluate(f"async (given) => {{ {MODULES} {script} }}", given)


@pytest.fixture(scope="module")
def page(server: Any, browser: Any, signed_in: Any) -> Any:
    """A page whose scripts are asked."""
    context = browser.new_context(base_url=server.url, storage_state=signed_in)
    page = context.new_page()
    page.goto("/ui/quotas")
    yield page
    context.close()


def test_a_screen_shows_what_is_written(page: Page) -> None:
    script = """
        return given.map((text) => {
            const screen = new Screen(4, 8);
            screen.write(text);
            return screen.lines.map(String);
        });
    """
    shown = asked(page, script, [text for text, _ in SCREENS.values()])
    assert dict(zip(SCREENS, shown, strict=True)) == {
        title: [*lines, *[""] * (4 - len(lines))] for title, (_, lines) in SCREENS.items()
    }


def test_a_screen_shows_how_it_looks(page: Page) -> None:
    script = """
        return given.map((text) => {
            const screen = new Screen(4, 8);
            screen.write(text);
            return screen.lines[0].pieces().map((each) => [each.text, each.style]);
        });
    """
    assert dict(zip(LOOKS, asked(page, script, list(LOOKS)), strict=True)) == LOOKS


def test_a_screen_is_whole_whatever_is_written_and_however_its_size_changes(page: Page) -> None:
    script = """
        let seed = given;
        const random = (most) => (seed = (seed * 48271) % 2147483647) % most;
        const pieces = ['a', 'bcd', '日', 'e\\u0301', '\\r', '\\n', '\\b', '\\t', '\\x1b[', ';', '?',
            '\\x1b7', '\\x1b8', '\\x1bM', '\\x1bD',
            '\\x1b[?1049h', '\\x1b[?1049l', '\\x1b[2;3r', '\\x1b[4h', '\\x1b[?6h', '\\x1b[1;31m'];
        const finals = 'ABCDEFGHIJKLMPSTXZ@`abdefrsu';
        const faults = [];
        const screen = new Screen(5, 9);
        for (let step = 0; step < 20000; step += 1) {
            if (random(300) === 0) screen.resize(2 + random(8), 2 + random(12));
            const command = `\\x1b[${random(12)};${random(12)}${finals[random(finals.length)]}`;
            screen.write(random(2) ? command : pieces[random(pieces.length)]);
            const { lines, rows, columns, row, column } = screen;
            const whole = lines.every((line) => line.texts.length === columns && line.styles.length === columns
                && line.texts.every((text, at) => text !== '' || (at > 0 && /^日/.test(line.texts[at - 1])))
                && line.texts.every((text, at) => !/^日/.test(text) || line.texts[at + 1] === ''));
            if (!whole || lines.length !== rows || row < 0 || row >= rows || column < 0 || column >= columns) {
                faults.push([step, rows, columns, row, column, lines.map((line) => line.texts.join('|'))]);
                break;
            }
        }
        return faults;
    """
    assert asked(page, script, 20261) == []


def test_what_has_scrolled_off_is_kept_and_cleared_when_it_is_to_be(page: Page) -> None:
    script = """
        const screen = new Screen(2, 8);
        screen.write('1\\r\\n2\\r\\n3');
        const first = screen.taken();
        screen.write('\\x1b[?1049h1\\r\\n2\\r\\n3\\x1b[?1049l\\r\\n4');
        const second = screen.taken();
        screen.write('\\r\\n5\\x1b[3J');
        const third = screen.taken();
        screen.write('\\n'.repeat(5000));
        return [first, second, third].map((each) => [each.lines.map(String), each.forgotten])
            .concat([[screen.taken().lines.length, false]]);
    """
    assert asked(page, script, None) == [[["1"], False], [["2"], False], [[], True], [2000, False]]


def test_a_repeated_character_is_what_it_would_be_had_it_been_written_so_often(page: Page) -> None:
    script = """
        const told = (screen) => [screen.lines.map((line) => [...line.texts, ...line.styles]),
            screen.taken().lines.map(String), screen.row, screen.column, screen.pending];
        return given.flatMap(([before, character, count]) => {
            const [repeated, written] = [new Screen(4, 8), new Screen(4, 8)];
            repeated.write(`${before}${character}\x1b[${count}bY`);
            written.write(`${before}${character.repeat(count + 1)}Y`);
            const [one, other] = [told(repeated), told(written)].map((each) => JSON.stringify(each));
            return one === other ? [] : [[before, character, count, one, other]];
        });
    """
    befores = ["", "ab日cd日\r", f"abcdefgh{CSI}3G", f"{CSI}31;44mab", f"{CSI}4habc日de\r", f"{CSI}?7labc", f"{ESC}(0"]
    cases = [
        [before, character, count] for before in befores for character in "xq日" for count in (1, 3, 7, 8, 9, 20, 31)
    ]
    assert asked(page, script, cases) == []


def test_a_whole_region_scrolls_and_what_was_seen_stays_as_it_was(page: Page) -> None:
    script = """
        const screen = new Screen(3, 8);
        screen.write(given);
        const lines = screen.taken().lines.map((line) => [String(line), line.pieces().map((each) => each.style)]);
        return [lines, screen.lines.map(String), screen.lines.map((line) => line.texts.length)];
    """
    most = 65535
    text = f"1\r\n\r\n3{CSI}{most}Sx{CSI}44m{CSI}{most}T{CSI}{most}S{CSI}0m{CSI}{most}SY{CSI}H{CSI}{most}MZ"
    seen, shown, widths = asked(page, script, text)
    assert seen == [["1", [""]], ["", []], ["3", [""]], *[["", ["t-b4"]]] * 6]
    assert (shown, widths) == (["Z", "", ""], [8, 8, 8])


FLOODS = {
    "scrolled": f"{CSI}65535S" * 20_000,
    "repeated": f"x{CSI}65535b" * 20_000,
    "moved": f"{CSI}65535L{CSI}65535T" * 20_000,
    "elsewhere": f"{CSI}?1049h" + f"{CSI}65535S" * 20_000 + f"{CSI}?1049l",
}

LAST = "the last words: " + "🙂" * 40


@pytest.mark.parametrize("what", FLOODS)
def test_a_page_goes_on_while_a_program_writes_what_takes_long(what: str, server: Any, window: Any) -> None:
    flood, name = FLOODS[what], f"flooding-{what}"
    server.run(name, "exec sleep 1000")
    server.wait_for(name, "Healthy")
    page = window.open(f"/ui/workloads/default/{name}")

    def flooded(socket: Any) -> None:
        def answer(message: Any) -> None:
            if "command" in str(message):
                socket.send('{"started": true}')
                socket.send(b"\x01" + flood.encode())
                socket.send(b"\x01" + f"{CSI}H{LAST}".encode())
                socket.send('{"exit": {"code": 0}}')

        socket.on_message(answer)

    page.route_web_socket("**/ui/terminal/**", flooded)
    page.reload()
    expect(page.locator("#live")).to_have_text("live")
    page.set_viewport_size({"width": 1900, "height": 1200})
    page.evaluate("""() => {
        const said = document.getElementById('terminal-said');
        const shown = document.getElementById('terminal-screen');
        window.gaps = [];
        let last = performance.now();
        const look = (now) => { window.gaps.push(now - last); last = now; requestAnimationFrame(look); };
        requestAnimationFrame(look);
        new MutationObserver(() => {
            if (said.textContent.startsWith('ended')) window.shownThen = shown.textContent;
        }).observe(said, { childList: true });
    }""")
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.locator("#terminal-said")).to_have_text("ended with code 0", timeout=60_000)
    assert LAST in page.evaluate("window.shownThen")
    assert max(page.evaluate("window.gaps")) < 2000
    page.close()
    server.ask("DELETE", f"/api/v1/namespaces/default/workloads/{name}")


def test_keys_are_sent_as_a_terminal_sends_them(page: Page) -> None:
    script = """
        return given.map(([event, text]) => {
            const screen = new Screen(4, 8);
            screen.write(text);
            return typed(event, screen);
        });
    """
    found = asked(page, script, [[event, text] for event, text, _ in KEYS])
    assert [[*each[:2], sent] for each, sent in zip(KEYS, found, strict=True)] == [list(each) for each in KEYS]


def test_what_is_pasted_ends_no_paste_and_presses_no_key(page: Page) -> None:
    script = """
        const plain = new Screen(4, 8);
        const bracketed = new Screen(4, 8);
        bracketed.write('\\x1b[?2004h');
        return [plain, bracketed].map((screen) => pasted(given, screen));
    """
    plain, bracketed = asked(page, script, "a\r\nb\tc\x1b[201~\x03\x9b")
    assert plain == "a\rb\tc[201~"
    assert bracketed == f"{CSI}200~{plain}{CSI}201~"


def opened(server: Any, window: Any, **options: Any) -> Page:
    """Return a page with a shell at a terminal."""
    server.run("shell", "exec sleep 1000")
    server.wait_for("shell", "Healthy")
    page: Page = window.open("/ui/workloads/default/shell", **options)
    expect(page.locator("#live")).to_have_text("live")
    page.get_by_role("button", name="Run", exact=True).click()
    expect(page.get_by_label("Terminal input")).to_be_focused()
    return page


def test_a_shell_is_used_as_at_any_terminal(server: Any, window: Any) -> None:
    page = opened(server, window)
    screen = page.locator("#terminal-screen")
    keyboard = page.keyboard
    keyboard.type("stty size; printf '\\033[1;32mgreen\\033[0m\\n'; cat -v\n")
    expect(screen.locator("span.t-f2.t-bold")).to_have_text("green")
    rows, columns = (int(each) for each in re.findall(r"(?m)^(\d+) (\d+)$", screen.inner_text())[0])
    assert rows == screen.locator("> div").count()
    assert columns > 80
    keyboard.press("ArrowUp")
    keyboard.press("Tab")
    keyboard.type("end")
    expect(screen).to_contain_text(re.compile(r"\^\[\[A\s+end"))
    expect(page.get_by_label("Terminal input")).to_be_focused()
    keyboard.press("Control+c")
    keyboard.type("trap 'stty size' WINCH; echo armed-$((40+2)); sleep 1000 & wait\n")
    expect(screen).to_contain_text("armed-42")
    page.set_viewport_size({"width": 700, "height": 700})
    told = screen.locator("> div").filter(has_text=re.compile(rf"^{rows} (?!{columns}$)\d\d$"))
    expect(told.first).to_be_visible()
    keyboard.press("Control+Shift+X")
    expect(page.get_by_role("button", name="Disconnect")).to_be_focused()
    found = Axe().run(page).response["violations"]
    assert [(each["id"], [node["html"] for node in each["nodes"]]) for each in found] == []
    screen.click()
    keyboard.type("kill $!; exit 7\n")
    expect(page.locator("#terminal-said")).to_have_text("ended with code 7")
    expect(page.get_by_label("Terminal input")).to_be_disabled()
    page.close()
    server.ask("DELETE", "/api/v1/namespaces/default/workloads/shell")


def test_a_command_runs_by_lines_where_the_runtime_has_no_terminals(server: Any, window: Any) -> None:
    server.run("piped", "exec sleep 1000")
    server.wait_for("piped", "Healthy")
    page = window.open("/ui/workloads/default/piped")

    def without_terminals(socket: Any) -> None:
        def pass_on(message: Any) -> None:
            if isinstance(message, str) and '"terminal":{' in message:
                socket.send('{"error": {"code": "unsupported", "detail": "there are no terminals"}}')
            else:
                behind.send(message)

        behind = socket.connect_to_server()
        socket.on_message(pass_on)

    page.route_web_socket("**/ui/terminal/**", without_terminals)
    page.reload()
    expect(page.locator("#live")).to_have_text("live")
    page.get_by_label("Command").fill('sh -c "echo said; exec sh"')
    page.get_by_role("button", name="Run", exact=True).click()
    text = page.get_by_label("Input", exact=True)
    expect(text).to_be_enabled()
    text.fill("echo sum-$((40+2))")
    text.press("Enter")
    shown = page.locator("#terminal-output")
    expect(shown).to_contain_text("said")
    expect(shown).to_contain_text("sum-42")
    text.fill("exit 7")
    text.press("Enter")
    expect(page.locator("#terminal-said")).to_have_text("ended with code 7")
    expect(text).to_be_disabled()
    page.close()
    server.ask("DELETE", "/api/v1/namespaces/default/workloads/piped")
