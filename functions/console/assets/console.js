// Keys, the reader's zone, and copying. Every page works without this file.
(() => {
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (zone && !document.cookie.includes(`zone=${zone.replace("/", "%2F")}`)) {
    document.cookie = `zone=${zone.replaceAll("/", "%2F")}; Path=/; Max-Age=31536000; SameSite=Lax`;
  }

  const pages = { o: "/", m: "/messages", q: "/queue", s: "/send", t: "/templates", i: "/inbox" };
  const isTyping = (target) => target.closest("input, textarea, select, [contenteditable]");
  let goes = false;
  const palette = document.querySelector("[data-palette]");
  if (palette && !palette.value) palette.focus();
  document.addEventListener("keydown", (event) => {
    if ((event.ctrlKey || event.metaKey) && event.key === "k") {
      event.preventDefault();
      palette ? palette.focus() : location.assign("/search");
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target) || document.cookie.includes("keys=off")) return;
    const wasGoing = goes;
    goes = event.key === "g";
    if (wasGoing && pages[event.key]) location.assign(pages[event.key]);
    else if (event.key === "c") location.assign("/send");
    else if (event.key === "/") {
      event.preventDefault();
      document.getElementById("q")?.focus();
    } else if (event.key === "j" || event.key === "k") {
      const rows = [...document.querySelectorAll("table a.go")];
      const at = rows.indexOf(document.activeElement) + (event.key === "j" ? 1 : -1);
      rows[Math.max(0, Math.min(at, rows.length - 1))]?.focus();
    }
  });

  document.querySelectorAll("[data-copy]").forEach((button) => (button.hidden = false));
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    await navigator.clipboard.writeText(button.dataset.copy);
    toast(button.dataset.copied || "Copied");
  });

  // The editor: variables are inserted at the cursor, lines are numbered, and an email follows what is typed.
  const editor = document.querySelector(".ed textarea");
  if (editor) {
    const form = editor.form;
    const press = (name) => form.querySelector(`[name=do][value=${name}]`) || document.querySelector(`[form=edit][value=${name}]`);
    form.addEventListener("click", (event) => {
      const button = event.target.closest("[name=insert]");
      if (!button) return;
      event.preventDefault();
      editor.setRangeText(`{{${button.value}}}`, editor.selectionStart, editor.selectionEnd, "end");
      editor.dispatchEvent(new Event("input", { bubbles: true }));
      editor.focus();
    });
    document.addEventListener("keydown", (event) => {
      if (!event.ctrlKey && !event.metaKey) return;
      const name = { s: "save", Enter: "preview" }[event.key];
      const button = name && press(name);
      if (!button) return;
      event.preventDefault();
      button.click();
    });
    let waits;
    editor.addEventListener("input", () => {
      const numbers = editor.previousElementSibling;
      const count = Math.min(editor.value.split("\n").length + 2, 2002);
      for (let line = numbers.children.length + 1; line <= count; line++) {
        numbers.append(Object.assign(document.createElement("li"), { textContent: line }));
      }
      editor.rows = numbers.children.length;
      clearTimeout(waits);
      waits = setTimeout(() => form.querySelector("[data-live]")?.click(), 800);
    });
  }

  function toast(text) {
    const box = document.querySelector(".toasts");
    const shown = document.createElement("div");
    shown.className = "toast";
    shown.textContent = text;
    box.append(shown);
    setTimeout(() => shown.remove(), 4000);
  }
})();
