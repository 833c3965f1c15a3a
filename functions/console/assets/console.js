// Keys, the reader's zone, and copying. Every page works without this file.
(() => {
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (zone && !document.cookie.includes(`zone=${zone.replace("/", "%2F")}`)) {
    document.cookie = `zone=${zone.replaceAll("/", "%2F")}; Path=/; Max-Age=31536000; SameSite=Lax`;
  }

  const pages = { o: "/", m: "/messages", q: "/queue", s: "/send" };
  const isTyping = (target) => target.closest("input, textarea, select, [contenteditable]");
  let goes = false;
  document.addEventListener("keydown", (event) => {
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

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    await navigator.clipboard.writeText(button.dataset.copy);
    toast(button.dataset.copied || "Copied");
  });

  function toast(text) {
    const box = document.querySelector(".toasts");
    const shown = document.createElement("div");
    shown.className = "toast";
    shown.textContent = text;
    box.append(shown);
    setTimeout(() => shown.remove(), 4000);
  }
})();
