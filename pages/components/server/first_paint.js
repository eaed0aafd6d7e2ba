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
    // A page begins at its top. Streamlit takes one with a chat input to its end, past its title and its next step.
    let touched = ""
    for (const done of ["pointerdown", "keydown", "wheel", "touchmove"]) {
        addEventListener(done, () => touched = location.pathname, {capture: true, passive: true})
    }
    addEventListener("scroll", ({target}) => {
        const moves = target.dataset?.testid === "stAppScrollToBottomContainer" && touched !== location.pathname
        if (moves && target.scrollTop) target.scrollTop = 0
    }, {capture: true, passive: true})
    // A page for a screenshot has no sidebar.
    if (new URLSearchParams(location.search).has("shot")) width = 0
    page.style.setProperty("--sidebar", `${width}px`)
}
