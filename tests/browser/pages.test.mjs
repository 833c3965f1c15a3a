// Every page of the console, found by its links: accessible, within its width, quiet, and small.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { TEMPLATES, Tidings, faultsOf, fill, kindOf, launch, linksOf, open } from "./support.mjs";

const MAX_PAGE = 32 * 1024;
const MAX_REQUESTS = 7;
const MAX_PAGES = 130;
const LOOKS = ["light", "dark"].flatMap((colorScheme) => [1280, 320].map((width) => ({ colorScheme, width })));

let tidings, browser, ids, paths;

before(async () => {
  tidings = await Tidings.start();
  browser = await launch();
  ids = await fill(tidings);
  paths = await crawl();
});

after(async () => {
  await browser?.close();
  tidings?.stop();
});

/** One address of each kind of page. */
async function crawl() {
  const reader = await open(browser);
  const known = new Map();
  const next = ["/", ...Object.values(ids).map((id) => `/messages/${id}`), "/messages/com_0", "/nowhere"];
  next.push(...TEMPLATES.flatMap((id) => ["", "/publish", "/versions/1", "/delete"].map((page) => `/templates/${id}${page}`)));
  next.push("/people/customer/cus_7", "/people/customer/cus_7/erase", "/people/customer/nobody", "/people?q=nobody");
  next.push("/suppressions?contact=nobody", "/suppressions?contact=%2B447700900005", "/audit?actor=none");
  next.push("/streams?q=nothing", "/streams/people/customer/cus_7", `/streams/messages/${ids.opened}`);
  next.push("/reference/communications/sendCommunication", "/reference/schemas/Message", "/reference?q=nothing");
  next.push("/search?q=cus_7", "/search?q=nothing-has-it", `/search?q=${"x".repeat(300)}`, "/queue", "/messages/%ff");
  const forced = new Set(next);
  while (next.length && known.size < MAX_PAGES) {
    const path = next.shift();
    const kind = forced.has(path) ? path : kindOf(path);
    if (known.has(kind)) continue;
    known.set(kind, path);
    await reader.goto(tidings.url + path);
    next.push(...(await linksOf(reader)));
  }
  await reader.context().close();
  return [...known.values()];
}

for (const look of LOOKS) {
  test(`pages in ${look.colorScheme} at ${look.width} px`, async (t) => {
    const page = await open(browser, { colorScheme: look.colorScheme, viewport: { width: look.width, height: 900 } });
    for (const path of paths) {
      await t.test(path, async () => {
        page.complaints.length = 0;
        await page.goto(tidings.url + path);
        assert.deepEqual(await faultsOf(page), []);
        const width = await page.evaluate(() => document.documentElement.scrollWidth);
        assert.ok(width <= look.width, `${width} px wide`);
        assert.equal(await page.locator("h1").count(), 1);
        assert.equal(await page.evaluate(() => window.wasRun), undefined, "content was run");
        assert.deepEqual(page.complaints, []);
      });
    }
    await page.context().close();
  });
}

test("pages are small and need few requests", async (t) => {
  for (const path of paths) {
    const context = await browser.newContext();
    const page = await context.newPage();
    let requests = 0;
    page.on("request", (request) => (requests += request.frame() === page.mainFrame() ? 1 : 0));
    const answer = await page.goto(tidings.url + path, { waitUntil: "networkidle" });
    const bytes = (await answer.body()).length;
    t.diagnostic(`${path}: ${bytes} bytes, ${requests} requests`);
    assert.ok(bytes <= MAX_PAGE, `${path} has ${bytes} bytes`);
    assert.ok(requests <= MAX_REQUESTS, `${path} needs ${requests} requests`);
    await context.close();
  }
});

test("the text can be twice as large", async () => {
  const page = await open(browser);
  for (const path of paths) {
    await page.goto(tidings.url + path);
    await page.evaluate(() => document.documentElement.setAttribute("data-large", ""));
    const session = await page.context().newCDPSession(page);
    await session.send("Emulation.setPageScaleFactor", { pageScaleFactor: 1 });
    await session.send("Page.setFontSizes", { fontSizes: { standard: 32, fixed: 26 } });
    await page.reload();
    const width = await page.evaluate(() => document.documentElement.scrollWidth);
    assert.ok(width <= 1280, `${path} is ${width} px wide`);
    await session.detach();
  }
  await page.context().close();
});

test("the first stop of the keyboard skips to the content", async () => {
  const page = await open(browser);
  for (const path of paths) {
    await page.goto(tidings.url + path);
    if (await page.locator("[autofocus]").count()) {
      const isThere = await page.evaluate(() => document.activeElement.matches(".errors[autofocus], .note[autofocus]"));
      assert.ok(isThere, `${path}: a page that says what is wrong has the focus there`);
      continue;
    }
    await page.keyboard.press("Tab");
    assert.equal(await page.evaluate(() => document.activeElement.className), "skip", path);
  }
  await page.context().close();
});
