// Runs before anything is drawn: says how much room the sidebar will take, and when somebody first does something.
{
    const page = document.documentElement
    page.dataset.opening = ""
    for (const done of ["pointerdown", "keydown"]) {
        addEventListener(done, () => delete page.dataset.opening, {capture: true, once: true})
    }
    let width = 300
    try {
        // Streamlit remembers both.
        width = Math.min(600, Math.max(200, parseInt(localStorage.getItem("sidebarWidth")) || width))
        if (localStorage.getItem("stSidebarCollapsed-") === "true") width = 0
    } catch {}
    // A page begins at its top. Streamlit takes one with a chat input to its end, past its title and its next step; what
    // is scrolled later, by whatever means, stays.
    let opened = "", touched = "", until = 0
    for (const done of ["pointerdown", "keydown", "wheel", "touchmove"]) {
        addEventListener(done, () => {
            touched = location.pathname
            if (opened !== touched) opened = ""
        }, {capture: true, passive: true})
    }
    addEventListener("scroll", ({target}) => {
        if (target.dataset?.testid !== "stAppScrollToBottomContainer") return
        if (opened !== location.pathname) [opened, until] = [location.pathname, performance.now() + 20000]
        if (target.scrollTop && touched !== opened && performance.now() < until) target.scrollTop = 0
    }, {capture: true, passive: true})
    // A page for a screenshot has no sidebar.
    if (new URLSearchParams(location.search).has("shot")) width = 0
    page.style.setProperty("--sidebar", `${width}px`)
}
