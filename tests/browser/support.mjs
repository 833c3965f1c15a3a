// A running Tidings with data in it, and a browser.
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createServer } from "node:net";

const tools = createRequire(`${process.env.TIDINGS_BROWSER_TOOLS}/package.json`);
const { chromium } = tools("playwright-core");
const AXE = readFileSync(tools.resolve("axe-core/axe.min.js"), "utf8");
const RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];
const KEY = "td_test_local";

/** An OpenID Connect provider for tests. */
export const provider = () => import(tools.resolve("oidc-provider"));

export const HOSTILE = `<script>window.wasRun=1</script><img src=x onerror=window.wasRun=1> "'&`;

export async function until(what, condition) {
  for (let n = 0; n < 400; n += 1) {
    const found = await condition();
    if (found) return found;
    await new Promise((done) => setTimeout(done, 50));
  }
  throw new Error(`did not happen: ${what}`);
}

export const freePort = () =>
  new Promise((done) => {
    const server = createServer().listen(0, "127.0.0.1", () => {
      const { port } = server.address();
      server.close(() => done(port));
    });
  });

export class Tidings {
  static async start({ port, env, command = ["--data", "memory", "--quiet"] } = {}, ...options) {
    port ??= await freePort();
    const program = spawn(process.env.TIDINGS_PROGRAM, [...command, "--port", `${port}`, ...options], {
      stdio: ["ignore", "inherit", "inherit"],
      env: { ...process.env, ...env },
    });
    const tidings = new Tidings(`http://127.0.0.1:${port}`, program);
    await until("the server answers", () => fetch(`${tidings.url}/health`).then((answer) => answer.ok, () => false));
    return tidings;
  }

  constructor(url, program) {
    this.url = url;
    this.program = program;
  }

  stop() {
    this.program.kill();
  }

  /** An answer of the API, which must not refuse. */
  async call(method, path, body, headers = {}) {
    const answer = await fetch(this.url + path, {
      method,
      headers: { authorization: `Bearer ${KEY}`, ...(body && { "content-type": "application/json" }), ...headers },
      body: body && JSON.stringify(body),
    });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
    return text && JSON.parse(text);
  }

  async send(message) {
    const common = { type: "general_notification", channel: "email", recipientContact: "delivered@sim.test" };
    const words = message.templateId ? {} : { subject: "Your order", content: "It is on its way." };
    return (await this.call("POST", "/api/communications/send", { ...common, ...words, ...message })).id;
  }

  async untilStatus(id, ...statuses) {
    return until(`${id} is ${statuses}`, async () => {
      const { status } = await this.call("GET", `/api/communications/${id}`);
      return statuses.includes(status);
    });
  }
}

/** Something of each kind that pages show, also hostile names. Returns ids. */
export async function fill(tidings) {
  const invoice = {
    type: "invoice",
    templateId: "tpl_invoice_email",
    templateVariables: { customerName: "Ada", invoiceNumber: "INV-1", amount: 1500, businessName: "Acme" },
    entityType: "sale",
    entityId: "INV-1",
    recipientId: "cus_7",
  };
  const ids = {
    opened: await tidings.send({ ...invoice, recipientContact: "opened@sim.test", recipientName: "Ada Bakker" }),
    bounced: await tidings.send({ recipientContact: "bounce-hard@sim.test", recipientId: "cus_8" }),
    failed: await tidings.send({ recipientContact: "reject@sim.test" }),
    scheduled: await tidings.send({ scheduledAt: "2027-06-01T09:00:00Z", recipientContact: "later@sim.test" }),
    sms: await tidings.send({ channel: "sms", recipientContact: "+447700900123", subject: undefined, content: "Your code is 1234" }),
    hostile: await tidings.send({ recipientName: HOSTILE.slice(0, 60), subject: HOSTILE, content: `<b>${HOSTILE}` }),
    long: await tidings.send({ subject: "x".repeat(180), content: `${"word ".repeat(900)}${"x".repeat(500)}` }),
    rtl: await tidings.send({ recipientName: "أحمد", subject: "فاتورة رقم 12", content: "مرحبا" }),
  };
  const soon = new Date(Date.parse((await tidings.call("GET", "/_dev/clock")).now) + 20 * 60_000).toISOString();
  await tidings.send({ scheduledAt: soon, recipientContact: "soon@sim.test" });
  // A channel that is paused, and a message that waits for it.
  const reason = `<b>${"y".repeat(150)}</b> "wrong amount"`;
  await tidings.call("POST", "/api/limits/channels/whatsapp/pause", { reason });
  ids.held = await tidings.send({ channel: "whatsapp", recipientContact: "+447700900011", subject: undefined, content: "Hello" });
  await fillTemplates(tidings);
  await fillSettings(tidings);
  await fillInvoices(tidings);
  await fillPeople(tidings);
  await tidings.untilStatus(ids.opened, "opened");
  await tidings.untilStatus(ids.bounced, "bounced");
  await tidings.untilStatus(ids.hostile, "delivered", "sent");
  return ids;
}

/** An account, a key, limits, and a dead letter. */
async function fillSettings(tidings) {
  const settings = { accountSid: "ACexample", authToken: "token-example", from: "+15005550006" };
  const account = { provider: "twilio", channel: "sms", settings, name: HOSTILE.slice(0, 90) };
  const { id } = await tidings.call("POST", "/api/channels", account);
  await tidings.call("POST", "/api/channels", { ...account, name: "x".repeat(100) });
  await tidings.call("POST", `/api/channels/${id}/test`, { to: "+447700900124" });
  await tidings.call("POST", "/api/keys", { name: HOSTILE.slice(0, 90), role: "sender", channels: ["sms", "email"] });
  const limits = { rate: { burst: 5000, perSecond: 500 }, dailySpendCapsMicros: { USD: 25_500_000, KES: 5_000_000 } };
  await tidings.call("PATCH", "/api/limits", limits);
  const dead = await tidings.send({ recipientContact: "down@sim.test", maxAttempts: 1 });
  await until("there is a dead letter", async () => (await tidings.call("GET", "/api/dead-letters/causes")).total > 0);
  return dead;
}

/** A person who decided a lot, with addresses and reasons that want to run. */
async function fillPeople(tidings) {
  const path = "/api/communication-preferences/customer/cus_7";
  const quietHours = { start: "21:00", end: "08:00", timeZone: "Europe/Amsterdam" };
  await tidings.call("PATCH", path, { smsEnabled: false, quietHours, preferredPhone: "+447700900005" });
  await tidings.call("PATCH", path, { preferences: { invoice: ["whatsapp", "email"], payment_link: [] } });
  await tidings.call("PATCH", path, { optedOut: true, optedOutReason: `${HOSTILE} ${"x".repeat(500)}` });
  await tidings.call("PATCH", path, { optedOut: false, optInEvidence: "استمارة 17" });
  await tidings.call("PATCH", path, { doNotContact: true, doNotContactReason: HOSTILE });
  const local = "a".repeat(60);
  for (const [contact, reason] of [["+447700900005", HOSTILE.slice(0, 90)]]) {
    await tidings.call("POST", "/api/suppressions", { channel: "sms", contact, reason });
  }
  await tidings.call("POST", "/api/suppressions", { channel: "email", contact: `${local}@${"b".repeat(60)}.example`, reason: "x".repeat(100) });
}

/** Templates whose pages every run looks at: with a draft that has faults, and with content that wants to run. */
export const TEMPLATES = ["tpl_renewal.sms.en", "tpl_renewal.email.en"];

async function fillTemplates(tidings) {
  const template = { name: `Renewal ${HOSTILE.slice(0, 60)}`, code: "renewal", type: "general", locale: "en" };
  const all = "/api/communication-templates";
  await tidings.call("POST", all, { ...template, channel: "sms", bodyTemplate: "Hi {{customerName}}\nrenew today." });
  await tidings.call("PUT", `${all}/${TEMPLATES[0]}/draft`, { bodyTemplate: `Hi {{customrName}}\n{{#if due}}${"x".repeat(300)}` });
  const html = { subjectTemplate: HOSTILE, bodyTemplate: `<b>${HOSTILE}</b> {{customerName}}` };
  await tidings.call("POST", all, { ...template, channel: "email", ...html });
  await tidings.call("PUT", `${all}/${TEMPLATES[1]}/draft`, { ...html, bodyTemplate: "<p>مرحبا {{customerName}}</p>" });
  const samples = [{ name: HOSTILE.slice(0, 60), variables: { customerName: HOSTILE } }];
  await tidings.call("PUT", `${all}/${TEMPLATES[1]}/samples`, { samples });
}

/** An invoice with a payment and an open reminder, an event that was not understood, and a schedule. */
async function fillInvoices(tidings) {
  await tidings.call("POST", "/api/collections/enable", {});
  const tell = (id, type, data) => tidings.call("POST", "/api/events", { id, type, source: "shop", data });
  const customer = { id: "cus_7", name: `Ada ${HOSTILE.slice(0, 40)}`, email: "ada@sim.test" };
  const terms = { total: "100.00", currency: "EUR", status: "issued", issuedOn: "2026-01-01" };
  for (const [id, dueOn] of [["7", "2026-02-01"], ["8", "2027-11-01"], ["x".repeat(200), "2026-03-01"]]) {
    await tell(`issued-${id}`, "ar_invoice.created", { invoice: { id, number: `INV-${id}`.slice(0, 100), dueOn, ...terms }, customer, businessName: "Acme" });
  }
  const payment = { id: "pay-1", amount: "40.00", currency: "EUR", receivedAt: "2026-11-01T09:00:00Z", method: "card" };
  await tell("paid-7", "payment.received", { payment, allocations: [{ invoice: "7", amount: "40.00" }], customer, businessName: "Acme" });
  const wrong = { source: "flowpos", account: "000000000000", id: "1", "detail-type": "sale.created", time: "2026-11-01T00:00:00Z" };
  await tidings.call("POST", "/_dev/events", { ...wrong, detail: { sale: { id: 5, note: HOSTILE } } });
  await tidings.call("POST", "/api/schedules", {
    name: `Daily ${HOSTILE.slice(0, 60)}`,
    when: { cron: "0 9 * * *" },
    timeZone: "America/Mexico_City",
    action: { send: { channel: "sms", type: "general", recipientContact: "+447700900001", content: "Hello" } },
  });
}

export async function launch() {
  return chromium.launch({ executablePath: process.env.TIDINGS_CHROMIUM, args: ["--no-sandbox"] });
}

/** A page that notes what the browser complains about. */
export async function open(browser, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  const page = await context.newPage();
  page.complaints = [];
  page.on("console", (message) => {
    // What a mail may not do is stopped, and the browser says so.
    const isExpected = /status of 4\d\d/.test(message.text()) || /\/mail$/.test(message.location().url);
    const isOfMail = /\/mail'|directive: "img-src data:"/.test(message.text());
    if (message.type() === "error" && !isExpected && !isOfMail) page.complaints.push(message.text());
  });
  page.on("pageerror", (error) => page.complaints.push(`${error}`));
  return page;
}

/** What axe finds, as one line for each fault. Details are open while it looks. */
export async function faultsOf(page) {
  await page.evaluate(() => document.querySelectorAll("details").forEach((details) => (details.open = true)));
  // The whole page is in sight, because what lies under the dock by chance can be moved away from it.
  const { width, height } = page.viewportSize();
  const whole = await page.evaluate(() => document.documentElement.scrollHeight);
  await page.setViewportSize({ width, height: Math.max(height, whole) });
  await page.evaluate(AXE);
  const found = await page.evaluate((values) => axe.run({ runOnly: { type: "tag", values } }), RULES);
  await page.setViewportSize({ width, height });
  return found.violations.flatMap(({ id, nodes }) =>
    nodes.map((node) => `${id}: ${node.target} ${node.failureSummary.split("\n").slice(1, 3).join(" ").trim()} ${node.html.slice(0, 160)}`),
  );
}

/** The addresses of the console that a page links to. */
export function linksOf(page) {
  return page.evaluate(() =>
    [...document.querySelectorAll("a[href]")]
      .filter((link) => link.origin === location.origin && !link.hasAttribute("download"))
      .map((link) => link.pathname + link.search)
      .filter((path) => !/^\/(static|api|docs)\b/.test(path)),
  );
}

/** The kind of page of an address: pages that differ in ids alone are one kind. */
export function kindOf(path) {
  const { pathname, searchParams } = new URL(path, "http://x");
  const segments = pathname.split("/").map((segment) => (/\d|^tpl_|@|%/.test(segment) ? "{id}" : segment));
  if (segments[1] === "reference" && segments.length > 2 && segments[2] !== "problems") segments.fill("{name}", 2);
  const tab = searchParams.get("tab");
  // A list with filters is one kind, whichever they are.
  if (pathname === "/messages" && searchParams.size) return "/messages?filtered";
  const names = [...new Set(searchParams.keys())].filter((name) => name !== "tab").sort();
  return segments.join("/") + (tab ? `?tab=${tab}` : "") + (names.length ? `?${names}` : "");
}
