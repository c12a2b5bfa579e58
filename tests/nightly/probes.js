/* What the tests of the console look for on a page; each returns what is wrong, or a figure. */
({
  contrast: () => {
    const parse = (text) => (text.match(/[\d.]+/g) || []).map(Number);
    const over = (a, b) => a.slice(0, 3).map((v, i) => v * (a[3] ?? 1) + b[i] * (1 - (a[3] ?? 1)));
    const light = (c) => { const [r, g, b] = c.map((v) => (v /= 255) <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
    const ground = (node) => { const chain = []; for (let at = node; at; at = at.parentElement) chain.push(parse(getComputedStyle(at).backgroundColor));
      return chain.reverse().reduce((under, one) => over(one, under), matchMedia("(prefers-color-scheme: dark)").matches ? [0, 0, 0] : [255, 255, 255]); };
    const poor = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
      const node = walker.currentNode.parentElement;
      if (!walker.currentNode.textContent.trim() || !node.checkVisibility() || node.closest("noscript, .hidden, option")) continue;
      const [a, b] = [light(over(parse(getComputedStyle(node).color), ground(node))), light(ground(node))];
      const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
      if (ratio < 4.5) poor.push(ratio.toFixed(1) + " " + walker.currentNode.textContent.trim().slice(0, 40));
    }
    return poor;
  },
  figures: async () => {
    const fresh = new DOMParser().parseFromString(await (await fetch("/")).text(), "text/html");
    const keep = (node) => !/span|since|clock|when|after|rate|speed/.test(node.dataset.as);
    const said = (root) => [...root.querySelectorAll("[data-live]")].filter(keep).map((node) => node.dataset.live + " " + node.textContent.trim());
    const here = said(document);
    return said(fresh).filter((one, at) => one !== here[at] && !/ages|_ms|bytes|reason|waits/.test(one));
  },
  nameless: () => [...document.querySelectorAll("button, a, select, input:not([type=hidden])")].filter((one) =>
    !(one.ariaLabel || one.textContent.trim() || (one.labels && [...one.labels].some((label) => label.textContent.trim())))
  ).map((one) => one.outerHTML),
  sorting: () => { const began = performance.now();
    for (const head of document.querySelectorAll('#regions thead button')) head.click();
    document.body.getBoundingClientRect();
    return (performance.now() - began) / document.querySelectorAll('#regions thead button').length; },
  lags: () => [...document.querySelectorAll("#regions tbody tr")].map((one) => one.cells[2].dataset.v).filter(Boolean).map(Number),
})
