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


def press(tab: Page, target: Locator) -> None:
    """Go to `target` by Tab and press Enter."""
    reach(tab, target)
    tab.keyboard.press("Enter")


# How everything looks while nothing has the focus.
_LOOK = """
() => {
    window.look = node => {
        const style = getComputedStyle(node), outline = style.outlineStyle === 'none' ? '' : style.outline;
        return [outline, style.boxShadow, style.borderColor, style.backgroundColor].join();
    };
    window.before = new Map([...document.querySelectorAll('#root *')].map(node => [node, window.look(node)]));
}
"""
# Where the focus is: its name and place, whether it shows there. Marks each control that has had it.
_STOP = """
() => {
    const node = document.activeElement;
    if (!node || node === document.body) return null;
    node.dataset.reached = 'yes';
    const main = document.querySelector('#stMain'), inside = main.contains(node), box = node.getBoundingClientRect();
    const told = [node.ariaLabel, node.innerText, node.title, node.placeholder];
    for (const id of (node.getAttribute('aria-labelledby') ?? '').split(' ')) told.push(document.getElementById(id)?.innerText);
    for (const label of node.labels ?? []) told.push(label.innerText);
    const around = [node, ...node.parentElement.children];
    for (let up = node.parentElement; up && around.length < 12; up = up.parentElement) around.push(up);
    const scrolled = inside ? main.scrollTop : document.querySelector('[data-testid=stSidebarContent]')?.scrollTop ?? 0;
    return {
        name: told.find(words => words?.trim())?.trim().split('\\n')[0] ?? '',
        seen: node === main || around.some(one => window.before.get(one) !== window.look(one)),
        inside, x: box.x, y: box.y + scrolled, what: node.outerHTML.slice(0, 160),
    };
}
"""
# Controls to be seen that never had the focus, nor had another of their group: in a group, arrows go from one to the next.
_MISSED = """
() => [...document.querySelectorAll('a[href], button, input, textarea, [role=button], [role=tab], [role=switch], [role=combobox]')]
    .filter(node => node.checkVisibility({visibilityProperty: true}) && node.getBoundingClientRect().width > 0)
    .filter(node => !node.disabled && node.ariaDisabled !== 'true' && !node.dataset.reached)
    .filter(node => !node.closest('[role=radiogroup], [role=tablist], [data-testid=stSelectbox], [data-testid=stMultiSelect]')?.querySelector('[data-reached]'))
    .map(node => node.outerHTML.slice(0, 160))
"""


def tour(tab: Page) -> list[str]:
    """Go through all controls of a page that was just loaded by Tab; return what is wrong with them."""
    # The focus shows at once. The button of a block of code would be gone before it has the focus.
    tab.add_style_tag(content="*:not([data-testid=stCode] *) { transition: none !important; }")
    tab.evaluate(_LOOK)
    wrong, last = [], None
    for _ in range(MOST):
        tab.keyboard.press("Tab")
        stop = tab.evaluate(_STOP)
        if stop is None:
            break
        if not stop["name"]:
            wrong.append(f"has no name: {stop['what']}")
        if not stop["seen"]:
            wrong.append(f"does not show the focus: {stop['what']}")
        if last and last["inside"] == stop["inside"] and stop["y"] < last["y"] - 8 and stop["x"] <= last["x"]:
            wrong.append(f"“{stop['name']}” lies above “{last['name']}” and comes after it")
        last = stop
    else:
        wrong.append("Tab comes to no end")
    return wrong + [f"is not reached: {what}" for what in tab.evaluate(_MISSED)]
