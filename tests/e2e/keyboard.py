"""Keyboard navigation: press Tab until an element has the focus, check that this is visible, and press Enter."""

from playwright.sync_api import Locator, Page

# More stops than any page has before the element.
MOST = 150
# Whether the focused element, or something around it, looks different than without focus.
_SEEN = """
async node => {
    const settled = () => new Promise(done => setTimeout(done, 350));
    const look = () => {
        const found = [];
        for (let at = node, up = 0; at && up < 5; at = at.parentElement, up++) {
            const style = getComputedStyle(at);
            found.push(style.outlineStyle === 'none' ? '' : style.outline, style.boxShadow, style.borderColor, style.backgroundColor);
        }
        return found.join();
    };
    await settled();
    const focused = look();
    node.blur();
    await settled();
    const blurred = look();
    node.focus();
    return focused !== blurred;
}
"""


def reach(tab: Page, target: Locator) -> None:
    """Press Tab until `target`, or something in it, has the focus; the focus must be visible and in view."""
    target.wait_for()
    for _ in range(MOST):
        tab.keyboard.press("Tab")
        if target.evaluate("node => node.contains(document.activeElement)"):
            break
    else:
        raise AssertionError(f"Tab does not lead to {target}")
    focused = target.evaluate_handle("() => document.activeElement").as_element()
    assert focused.evaluate(_SEEN), f"nothing shows that the focus is on {target}"
    box = focused.bounding_box()
    assert 0 <= box["y"] < tab.viewport_size["height"], f"the focus on {target} is out of sight"
