// What a number rests on, on hover, focus or touch; and every table as CSV.
// A number is <a class="number" href="a run page" data-runs="which trainings" title="n and spread">;
// study/numbers.py writes it. What is known of the trainings stands in runs.js, which is made when
// the book is built and loaded when the first number asks for it.
(() => {
  "use strict";
  const here = document.currentScript.src;
  const link = (name) => new URL(name, here).href;
  const MOST_PAGES = 24; // links in one box; beyond that the table of runs has them

  let loading;
  const load = () =>
    (loading ??= new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = link("runs.js");
      script.onload = () => resolve(window.sparseconvRuns);
      script.onerror = () => {
        loading = undefined; // to be tried again
        reject(new Error("runs.js could not be read"));
      };
      document.head.append(script);
    }));

  // "0-2,5" -> [0, 1, 2, 5]
  const wholes = (text) =>
    text.split(",").flatMap((part) => {
      const [first, last = first] = part.split("-").map(Number);
      return Array.from({ length: last - first + 1 }, (_, i) => first + i);
    });

  // "a;b;c;0.8;0-4|;;d;;" -> groups of five fields; an empty one is as in the group before.
  const groups = (text) => {
    let before = [];
    return text.split("|").map((group) => {
      before = group.split(";").map((field, i) => field || before[i]);
      const [experiment, protocol, network, sparsity, seeds] = before;
      return { experiment, protocol, network, sparsity, seeds: wholes(seeds) };
    });
  };

  const element = (name, text, attributes = {}) => {
    const made = document.createElement(name);
    if (text) made.textContent = text;
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
  };
  const unique = (values) => [...new Set(values)];
  const quoted = (text) => (/^[\w.+-]+$/.test(text) ? text : `"${text}"`);
  const span = (values) => {
    const [low, high] = [Math.min(...values), Math.max(...values)].map((v) =>
      v < 10 ? v.toFixed(1) : v.toFixed(0),
    );
    return low === high ? low : `${low} to ${high}`;
  };

  // One command for each protocol and sparsity: all networks, from the first seed on.
  const commands = (asked) => {
    const found = new Map();
    for (const group of asked) {
      const key = `${group.experiment};${group.protocol};${group.sparsity}`;
      const entry = found.get(key) ?? { ...group, networks: [], seeds: [] };
      entry.networks = unique([...entry.networks, group.network]);
      entry.seeds = unique([...entry.seeds, ...group.seeds]);
      found.set(key, entry);
    }
    return [...found.values()].map((entry) => {
      const first = Math.min(...entry.seeds);
      const count = Math.max(...entry.seeds) - first + 1;
      return (
        `.venv/bin/papermill notebooks/${entry.experiment}.ipynb out.ipynb -p sparsity ${entry.sparsity} ` +
        `-p protocol ${quoted(entry.protocol)} -p networks ${quoted(entry.networks.join(", "))} ` +
        `-p seed ${first}${count > 1 ? ` -p seeds ${count}` : ""}`
      );
    });
  };

  const fill = (box, number, note, known) => {
    const asked = groups(number.dataset.runs);
    const runs = asked.flatMap((group) => {
      const cell = known.cells[[group.experiment, group.protocol, group.network, group.sparsity].join(";")];
      return (cell ?? [])
        .filter(([seed]) => group.seeds.includes(seed))
        .map(([seed, page, seconds, together, device, commit, other]) => ({
          seed, page: known.pages[page], seconds, together, other,
          device: known.devices[device], commit: known.commits[commit], sparsity: group.sparsity,
        }));
    });
    box.replaceChildren();
    const head = element("p", "", { id: "number-head" });
    head.append(element("strong", number.textContent), note ? `  ${note}` : "");
    const facts = element("dl", "", { id: "number-facts" });
    const fact = (name, told) => facts.append(element("dt", name), element("dd", told));
    const what = [
      unique(asked.map((g) => g.network)).join(", "),
      unique(asked.map((g) => g.protocol)).join("; "),
      `p = ${unique(asked.map((g) => g.sparsity)).join(", ")}`,
    ];
    fact(runs.length === 1 ? "Run" : `${runs.length} runs`, what.join(" · "));
    fact("Device", unique(runs.map((run) => run.device)).join("; "));
    const together = Math.max(...runs.map((run) => run.together));
    const shared = together > 1 ? `, a share where up to ${together} ran as one` : "";
    fact("Seconds", `${span(runs.map((run) => run.seconds))} for one run${shared}`);
    fact("Commit", unique(runs.map((run) => run.commit)).join(", "));
    box.append(head, facts);
    const other = runs.filter((run) => run.other).length;
    if (other) {
      const which = other === runs.length ? "" : `${other} of these runs: `;
      box.append(
        element(
          "p",
          `† ${which}made by other code than today's, which is not known to give the same digits.`,
          { class: "other-code", id: "number-other" },
        ),
      );
    }
    const again = commands(asked);
    box.append(element("p", again.length > 1 ? "To make them again:" : "To make it again:"));
    box.append(element("code", again.join("\n")));
    const copy = element("button", "Copy", { type: "button" });
    copy.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(again.join("\n"));
        copy.textContent = "Copied";
      } catch {
        getSelection().selectAllChildren(box.querySelector("code")); // to be copied by hand
        copy.textContent = "Selected";
      }
    });
    const buttons = element("p");
    buttons.append(copy);
    box.append(buttons);
    const pages = [...new Map(runs.map((run) => [run.page, run])).values()];
    const line = element("p", pages.length > 1 ? "Run pages: " : "Run page: ");
    const several = unique(pages.map((run) => run.sparsity)).length > 1;
    for (const run of pages.slice(0, MOST_PAGES)) {
      const told = `${several ? `p = ${run.sparsity}, ` : ""}seed ${run.seed}`;
      line.append(element("a", told, { href: link(`../book/runs/${run.page}.html`) }), " · ");
    }
    const rest = pages.length > MOST_PAGES ? `${pages.length - MOST_PAGES} more in the table of runs` : "all runs";
    const query = unique(asked.map((g) => g.protocol)).length === 1
      ? `?${new URLSearchParams({ chapter: asked[0].experiment, protocol: asked[0].protocol })}` : "";
    line.append(element("a", rest, { href: link("../book/runs/index.html") + query }));
    box.append(line);
  };

  const showNumbers = () => {
    const numbers = [...document.querySelectorAll("a.number")];
    if (!numbers.length || !HTMLElement.prototype.showPopover) return; // they stay links
    const notes = new WeakMap();
    const box = element("div", "", {
      class: "number-box", popover: "auto", role: "dialog", tabindex: "-1",
      "aria-label": "Where this number comes from",
    });
    let shown = null;
    let pinned = false;
    let timer;

    const place = () => {
      const at = shown.getBoundingClientRect();
      const [width, height] = [box.offsetWidth, box.offsetHeight];
      const left = Math.max(8, Math.min(at.left, document.documentElement.clientWidth - width - 8));
      const below = at.bottom + 4;
      const fits = below + height <= window.innerHeight || at.top < window.innerHeight - at.bottom;
      box.style.left = `${left}px`;
      box.style.top = `${Math.max(8, fits ? below : at.top - height - 4)}px`;
    };
    const hide = () => {
      clearTimeout(timer);
      if (shown) box.hidePopover();
    };
    const show = async (number, pin = false) => {
      clearTimeout(timer);
      pinned = pin || (pinned && shown === number);
      if (shown === number) return;
      const known = await load();
      hide();
      shown = number;
      pinned = pin;
      fill(box, number, notes.get(number), known);
      number.after(box); // so that Tab leads from the number into its box
      box.showPopover();
      place();
      number.setAttribute("aria-expanded", "true");
      const ids = ["number-head", "number-facts", "number-other"];
      number.setAttribute("aria-describedby", ids.filter((id) => document.getElementById(id)).join(" "));
    };
    box.addEventListener("beforetoggle", (event) => {
      if (event.newState !== "closed" || !shown) return;
      shown.setAttribute("aria-expanded", "false");
      shown.removeAttribute("aria-describedby");
      if (box.contains(document.activeElement)) shown.focus();
      shown = null;
      pinned = false;
    });
    // Browsers do this for a popover, but Chromium not for one that a key opened and focused.
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && shown) {
        event.preventDefault();
        hide();
      }
    });
    document.addEventListener("scroll", () => shown && place(), { capture: true, passive: true });
    window.addEventListener("resize", () => shown && place());

    const later = (what, wait) => {
      clearTimeout(timer);
      timer = setTimeout(what, wait);
    };
    const leave = (to) => {
      if (pinned || box.contains(to) || to?.closest?.("a.number") === shown) return;
      later(() => !pinned && hide(), 250);
    };
    for (const number of numbers) {
      notes.set(number, number.title);
      number.removeAttribute("title"); // which the browser would show beside the box
      number.setAttribute("role", "button");
      number.setAttribute("aria-haspopup", "dialog");
      number.setAttribute("aria-expanded", "false");
      number.addEventListener("pointerenter", (event) => {
        if (event.pointerType === "mouse") later(() => show(number).catch(() => {}), 120);
      });
      number.addEventListener("pointerleave", (event) => leave(event.relatedTarget));
      number.addEventListener("focus", () => number.matches(":focus-visible") && show(number).catch(() => {}));
      number.addEventListener("blur", (event) => leave(event.relatedTarget));
      number.addEventListener("click", (event) => {
        if (event.ctrlKey || event.metaKey || event.shiftKey) return; // a link, if so wished
        event.preventDefault();
        const byKey = event.detail === 0;
        show(number, true).then(
          () => byKey && box.focus(),
          () => (location.href = number.href), // what it is without script
        );
      });
      number.addEventListener("keydown", (event) => {
        if (event.key === " ") {
          event.preventDefault();
          number.click();
        }
      });
    }
    box.addEventListener("pointerenter", () => clearTimeout(timer));
    box.addEventListener("pointerleave", (event) => leave(event.relatedTarget));
    box.addEventListener("focusout", (event) => {
      if (event.relatedTarget && event.relatedTarget !== shown && !box.contains(event.relatedTarget)) hide();
    });

    // A table is one stop for Tab; arrows lead from number to number.
    for (const table of document.querySelectorAll("table:has(a.number)")) {
      const rows = [...table.rows].map((row) => [...row.querySelectorAll("a.number")]).filter((row) => row.length);
      rows.flat().forEach((number, i) => (number.tabIndex = i ? -1 : 0));
      table.addEventListener("focusin", (event) => {
        if (!event.target.matches("a.number")) return;
        rows.flat().forEach((number) => (number.tabIndex = number === event.target ? 0 : -1));
      });
      table.addEventListener("keydown", (event) => {
        const y = rows.findIndex((row) => row.includes(event.target));
        if (y < 0) return;
        const x = rows[y].indexOf(event.target);
        const to = {
          ArrowLeft: rows[y][x - 1],
          ArrowRight: rows[y][x + 1],
          ArrowUp: rows[y - 1]?.[Math.min(x, rows[y - 1].length - 1)],
          ArrowDown: rows[y + 1]?.[Math.min(x, rows[y + 1].length - 1)],
        }[event.key];
        if (!to) return;
        event.preventDefault();
        to.focus();
      });
    }
  };

  // CSV ---------------------------------------------------------------------------------------

  const cellText = (cell) => {
    const copy = cell.cloneNode(true);
    copy.querySelectorAll(".number-box, .headerlink").forEach((extra) => extra.remove());
    // Spaces that do not break, and minus signs, are for readers of the page.
    return copy.textContent.replace(/\s+/g, " ").replace(/−/g, "-").trim();
  };
  const asCsv = (table) =>
    [...table.rows]
      .filter((row) => !row.hidden)
      .map((row) =>
        [...row.cells]
          .map((cell) => cellText(cell))
          .map((text) => (/[",\n]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text))
          .join(","),
      )
      .join("\r\n") + "\r\n";

  const offerTables = () => {
    const page = location.pathname.split("/").pop().replace(/\.html$/, "") || "index";
    const names = new Map();
    for (const table of document.querySelectorAll("article table")) {
      const caption = (table.getAttribute("aria-label") || table.caption?.textContent ||
        table.closest("section")?.querySelector("h1, h2, h3")?.firstChild.textContent || "table").trim();
      const words = caption.normalize("NFKD").toLowerCase().match(/[a-z0-9]+/g) ?? ["table"];
      let name = `${page}-${words.slice(0, 8).join("-")}`.slice(0, 80);
      names.set(name, (names.get(name) ?? 0) + 1);
      if (names.get(name) > 1) name += `-${names.get(name)}`;
      const anchor = element("a", "CSV", {
        href: "#", download: `${name}.csv`, "aria-label": `CSV: download the table ${caption.slice(0, 100)}`,
      });
      anchor.addEventListener("click", () => {
        const url = URL.createObjectURL(new Blob([asCsv(table)], { type: "text/csv;charset=utf-8" }));
        anchor.href = url;
        setTimeout(() => URL.revokeObjectURL(url), 10_000);
      });
      const line = element("p", "", { class: "csv" });
      line.append(anchor);
      (table.closest(".table-scroll, .pst-scrollable-table-container") ?? table).after(line);
    }
  };

  showNumbers();
  offerTables();
})();
