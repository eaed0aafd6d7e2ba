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
    // A page for a screenshot has no sidebar.
    if (new URLSearchParams(location.search).has("shot")) width = 0
    page.style.setProperty("--sidebar", `${width}px`)
}
