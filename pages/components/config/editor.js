// Draws syntax colors, line numbers and the wrong line below a Streamlit text area, which still handles typing, undo and
// screen readers. Enter keeps the indentation; Tab moves to the next field, as usual.
(() => {
  // Streamlit drops a script that contains an opening angle bracket directly before a letter, so no named groups.
  const KINDS = ["comment", "string", "keyword", "number", "name"];
  const TOKENS = new RegExp(
    [
      String.raw`(#[^\n]*)`,
      String.raw`([rbufRBUF]{0,2}(?:"""[\s\S]*?(?:"""|$)|'''[\s\S]*?(?:'''|$)|"(?:\\.|[^"\\\n])*"?|'(?:\\.|[^'\\\n])*'?))`,
      String.raw`(\b(?:and|as|assert|class|def|del|elif|else|except|False|finally|for|from|if|import|in|is|lambda|None|not|or|pass|raise|return|True|try|while|with|yield)\b)`,
      String.raw`(\b\d[\d_]*(?:\.\d*)?(?:[eE][+-]?\d+)?)`,
      String.raw`(\b[A-Za-z_]\w*(?=\s*=[^=]))`,
      String.raw`[A-Za-z_]\w*`,
    ].join("|"),
    "g",
  );

  // Return the lines of `text` as elements; a token that spans several lines becomes one in each.
  const drawn = (text, wrong) => {
    const lines = [document.createElement("span")];
    const put = (piece, kind) => {
      piece.split("\n").forEach((part, number) => {
        if (number > 0) lines.push(document.createElement("span"));
        if (!part) return;
        const element = kind ? document.createElement("span") : document.createTextNode(part);
        if (kind) {
          element.className = kind;
          element.textContent = part;
        }
        lines.at(-1).append(element);
      });
    };
    let at = 0;
    for (const found of text.matchAll(TOKENS)) {
      put(text.slice(at, found.index));
      put(found[0], KINDS.find((_, number) => found[number + 1] !== undefined));
      at = found.index + found[0].length;
    }
    put(text.slice(at));
    lines[wrong - 1]?.classList.add("wrong");
    return lines;
  };

  const enhance = (box) => {
    const area = box.querySelector("textarea");
    if (!area || area.dataset.coloured) return;
    area.dataset.coloured = "yes";
    area.spellcheck = false;
    const layer = document.createElement("pre");
    layer.className = "code-colours";
    layer.setAttribute("aria-hidden", "true");
    area.parentElement.classList.add("has-colours");
    area.parentElement.append(layer);
    let before = "";
    let wrongBefore = 0;
    const follow = () => {
      layer.style.transform = `translate(${-area.scrollLeft}px, ${-area.scrollTop}px)`;
    };
    const draw = () => {
      const wrong = Number(getComputedStyle(box).getPropertyValue("--wrong-line"));
      const now = `${wrong}\n${area.value}`;
      if (now === before) return;
      before = now;
      layer.replaceChildren(...drawn(area.value, wrong));
      if (wrong && wrong !== wrongBefore) area.scrollTop = Math.max(0, layer.children[wrong - 1].offsetTop - 120);
      wrongBefore = wrong;
      follow();
    };
    area.addEventListener("input", draw);
    area.addEventListener("scroll", follow);
    area.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.ctrlKey || event.metaKey || event.isComposing) return;
      const line = area.value.slice(0, area.selectionStart).split("\n").at(-1);
      const more = /[([{]\s*$/.test(line) ? "    " : "";
      event.preventDefault();
      event.stopPropagation();
      document.execCommand("insertText", false, `\n${/^\s*/.exec(line)[0]}${more}`);
    });
    // The form and the server change the text too, and report which line is wrong.
    const ticking = setInterval(() => (area.isConnected ? draw() : clearInterval(ticking)), 300);
    draw();
  };

  const look = () => document.querySelectorAll(".st-key-config_text").forEach(enhance);
  look();
  // The text area is drawn a moment later, and redrawn for another config.
  const looking = setInterval(() => {
    if (document.querySelector(".st-key-config_text")) look();
    else clearInterval(looking);
  }, 200);
})();
