// Keeps what is shown current: fetches the page every few seconds and puts the parts that changed in place of the old
// ones.  Without it the page is complete, and loads itself anew now and then.
"use strict";

const EVERY_MS = 4000;

async function refresh() {
  if (document.hidden) return;
  const age = document.getElementById("age");
  try {
    const answer = await fetch("/", { credentials: "same-origin", redirect: "error" });
    if (!answer.ok) throw new Error(answer.status);
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (fresh.getElementById("login")) return location.reload();
    document.title = fresh.title;
    for (const old of document.querySelectorAll("[data-live]")) {
      const now = fresh.getElementById(old.id);
      // What somebody has open or is in stays as it is.
      for (const details of old.querySelectorAll("details[open]"))
        now?.querySelector(`#${details.id}`)?.setAttribute("open", "");
      if (now && !now.isEqualNode(old) && !old.contains(document.activeElement)) old.replaceWith(now);
    }
    document.body.classList.remove("stale");
    age.textContent = "What is shown is kept current.";
  } catch {
    document.body.classList.add("stale");
    age.textContent = "The node does not answer: what is shown is old.";
  }
}

document.getElementById("age").textContent = "What is shown is kept current.";
setInterval(refresh, EVERY_MS);
document.addEventListener("visibilitychange", refresh);
