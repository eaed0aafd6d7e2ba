"""How much of a page moves while it opens, as the browser counts it: the sum of all layout shifts of a first load."""

from playwright.sync_api import Browser

from tests.e2e.server import MINUTE

# The whole of it, not the worst second; what follows a click or a key within half a second is not counted.
COUNT = """
window.moved = [];
new PerformanceObserver(list => {
    for (const entry of list.getEntries()) {
        if (!entry.hadRecentInput) window.moved.push([entry.value, entry.sources.map(({node, previousRect, currentRect}) =>
            [(node?.innerText ?? node?.textContent ?? '').trim().slice(0, 40), previousRect.y, currentRect.y])]);
    }
}).observe({type: 'layout-shift', buffered: true});
"""
# Drawn to its end: nothing is loading, and nothing was added since the last look.
DRAWN = """
() => {
    const count = document.querySelectorAll('#root *').length, same = count === window.last;
    window.last = count;
    return same && document.querySelector('[data-test-script-state=notRunning]') && document.querySelector('h1')
        && !document.querySelector('[data-testid=stSkeleton]');
}
"""


def moved(browser: Browser, url: str, width: int, height: int = 900) -> tuple[float, list[list[object]]]:
    """Return the shift of a page in a new browser `width` pixels wide, and what moved: text, old and new position."""
    context = browser.new_context(locale="zh-CN", viewport={"width": width, "height": height})
    try:
        tab = context.new_page()
        tab.add_init_script(COUNT)
        tab.goto(url)
        tab.wait_for_function(DRAWN, polling=400, timeout=2 * MINUTE)
        found = tab.evaluate("window.moved")
    finally:
        context.close()
    return sum(value for value, _ in found), [source for _, sources in found for source in sources]
