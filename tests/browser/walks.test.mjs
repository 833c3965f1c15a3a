// What people do in the console: with and without scripts, twice, too late, by keyboard.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Tidings, fill, launch, open, until } from "./support.mjs";

let tidings, browser, ids;

before(async () => {
  tidings = await Tidings.start();
  browser = await launch();
  ids = await fill(tidings);
});

after(async () => {
  await browser?.close();
  tidings?.stop();
});

/** The number of messages in the list, once it stays the same for a moment. */
async function total() {
  const count = async () => (await tidings.call("GET", "/api/communications?size=100")).results.length;
  return until("the list is up to date", async () => {
    const before = await count();
    await new Promise((done) => setTimeout(done, 300));
    return before === (await count()) && before;
  });
}

test("a message is sent without scripts", async () => {
  const page = await open(browser, { javaScriptEnabled: false });
  await page.goto(`${tidings.url}/`);
  await page.locator(".top a", { hasText: "Send" }).click();
  await page.locator("[name=channel]").selectOption("sms");
  await page.locator("[name=recipientContact]").fill("nobody");
  await page.locator("[name=content]").fill("Hello");
  await page.locator("button[name=do][value=send]").click();
  assert.match(await page.title(), /^Error: /);
  assert.equal(await page.locator("[name=content]").inputValue(), "Hello", "what was typed is kept");
  await page.locator(".errors a").first().click();
  await page.locator("[name=recipientContact]").fill("+447700900555");
  await page.locator("button[name=do][value=send]").click();
  assert.match(page.url(), /\/messages\/com_/);
  await page.context().close();
});

test("a double click sends once", async () => {
  const page = await open(browser);
  const before = await total();
  await page.goto(`${tidings.url}/send`);
  await page.locator("[name=channel]").selectOption("sms");
  await page.locator("[name=recipientContact]").fill("+447700900556");
  await page.locator("[name=content]").fill("Only once");
  await page.locator("button[name=do][value=send]").dblclick();
  await page.waitForURL(/\/messages\/com_/);
  await page.goBack();
  await page.goForward();
  assert.equal(await total(), before + 1);
  await page.context().close();
});

test("what is typed before the fields of a channel arrive is kept", async () => {
  const page = await open(browser);
  await page.route("**/send?do=fields", async (route) => {
    await new Promise((done) => setTimeout(done, 500));
    await route.continue();
  });
  await page.goto(`${tidings.url}/send`);
  const fields = page.waitForResponse("**/send?do=fields");
  await page.locator("[name=channel]").selectOption("sms");
  await page.locator("[name=content]").fill("Typed early");
  await fields;
  await page.waitForTimeout(300);
  assert.equal(await page.locator("[name=content]").inputValue(), "Typed early");
  await page.context().close();
});

test("keys search, move and open", async () => {
  const page = await open(browser);
  await page.goto(`${tidings.url}/`);
  await page.keyboard.press("/");
  assert.equal(await page.evaluate(() => document.activeElement.id), "q");
  await page.keyboard.type(ids.bounced);
  await page.keyboard.press("Enter");
  await page.waitForURL(`**/messages/${ids.bounced}`);
  assert.match(await page.locator("h1").innerText(), /bounce|mailbox/i);
  await page.keyboard.press("Escape");
  await page.locator("#main").focus();
  await page.keyboard.press("g");
  await page.keyboard.press("m");
  await page.waitForURL("**/messages");
  await page.keyboard.press("j");
  await page.keyboard.press("j");
  const second = await page.locator("table a.go").nth(1).getAttribute("href");
  await page.keyboard.press("Enter");
  await page.waitForURL(`**${second}`);
  await page.context().close();
});

test("the theme is kept, without scripts", async () => {
  const page = await open(browser, { javaScriptEnabled: false, colorScheme: "light" });
  await page.goto(`${tidings.url}/messages`);
  await page.getByRole("button", { name: "Switch to dark theme" }).click();
  assert.equal(await page.locator("html").getAttribute("data-theme"), "dark");
  assert.match(page.url(), /\/messages$/);
  await page.context().close();
});

test("what a reader opened, focused or can send once stays while a message is followed", async () => {
  const id = await tidings.send({ recipientContact: "slow@sim.test" });
  const page = await open(browser);
  await page.goto(`${tidings.url}/messages/${id}`);
  const key = await page.locator("#resend-key").inputValue();
  await page.locator("#curl summary").click();
  await page.locator("#resend button").focus();
  await page.evaluate(() => document.querySelector("iframe").addEventListener("load", () => (window.wasLoaded = true)));
  await page.waitForResponse(`**/messages/${id}?tab=seen`);
  await page.waitForResponse(`**/messages/${id}?tab=seen`);
  await page.waitForTimeout(500);
  assert.equal(await page.locator("#resend-key").inputValue(), key);
  assert.equal(await page.locator("#curl").evaluate((details) => details.open), true);
  assert.equal(await page.evaluate(() => document.activeElement.closest("form")?.id), "resend");
  assert.equal(await page.evaluate(() => window.wasLoaded), undefined, "the email was loaded again");
  await page.locator("h1", { hasText: "Delivered" }).waitFor({ timeout: 45_000 });
  assert.equal(await page.locator("#follow").count(), 0, "what cannot change is not loaded again");
  assert.equal(await page.locator("#resend-key").inputValue(), key);
  await page.context().close();
});

test("after a refused form the focus is on what is wrong", async () => {
  for (const javaScriptEnabled of [true, false]) {
    const page = await open(browser, { javaScriptEnabled });
    await page.goto(`${tidings.url}/send`);
    await page.locator("[name=channel]").selectOption("sms");
    await page.locator("[name=recipientContact]").fill("nobody");
    await page.locator("[name=content]").fill("Hello");
    await page.locator("button[name=do][value=send]").click();
    await page.locator(".errors:focus").waitFor({ timeout: 5_000 });
    await page.context().close();
  }
});

test("single keys can be switched off", async () => {
  const page = await open(browser);
  await page.goto(`${tidings.url}/messages`);
  await page.getByRole("button", { name: "Switch keyboard shortcuts off" }).click();
  await page.getByRole("button", { name: "Switch keyboard shortcuts on" }).waitFor();
  await page.keyboard.press("c");
  await page.waitForTimeout(300);
  assert.match(page.url(), /\/messages$/);
  await page.context().close();
});

test("a message that moves is followed without a reload", async () => {
  const id = await tidings.send({ scheduledAt: new Date(Date.now() + 4000).toISOString(), recipientContact: "delivered@sim.test" });
  const page = await open(browser);
  await page.goto(`${tidings.url}/messages/${id}`);
  await page.evaluate(() => (window.isSame = true));
  await page.locator("h1", { hasText: "Delivered" }).waitFor({ timeout: 20_000 });
  assert.equal(await page.evaluate(() => window.isSame), true);
  await page.context().close();
});
