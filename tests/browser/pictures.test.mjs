// The pictures of the guides: `TIDINGS_PICTURES=docs/images tests/browser/run`. Otherwise there is nothing to do.
import { mkdirSync } from "node:fs";
import { test } from "node:test";
import { Tidings, launch, open, until } from "./support.mjs";

const folder = process.env.TIDINGS_PICTURES;

/** Messages of a small shop. */
async function fillShop(tidings) {
  const invoice = (number, amount) => ({
    type: "invoice",
    templateId: "tpl_invoice_email",
    templateVariables: { customerName: "Ada Bakker", invoiceNumber: number, amount, businessName: "Acme" },
    entityType: "sale",
    entityId: number,
    recipientId: "7",
    recipientName: "Ada Bakker",
  });
  const people = ["opened@sim.test", "delivered@sim.test", "clicked@sim.test", "bounce-hard@sim.test", "opened@sim.test"];
  const ids = [];
  for (const [n, to] of people.entries()) ids.push(await tidings.send({ ...invoice(`INV-${20 + n}`, 120 + 80 * n), recipientContact: to }));
  for (const n of [1, 2, 3]) {
    await tidings.send({ channel: "sms", subject: undefined, content: "Your parcel arrives tomorrow.", recipientContact: `+4477009001${n}0` });
  }
  await tidings.send({ channel: "whatsapp", subject: undefined, content: "Your table is ready.", recipientContact: "+447700900010" });
  await tidings.send({ recipientContact: "down@sim.test", recipientName: "Tom Baker" });
  await tidings.untilStatus(ids[0], "opened");
  await tidings.untilStatus(ids[3], "bounced");
  return ids;
}

test("pictures", { skip: !folder && "TIDINGS_PICTURES is not set" }, async () => {
  mkdirSync(folder, { recursive: true });
  const tidings = await Tidings.start({ command: ["demo", "--keep"] });
  await until("the story is told", async () => {
    const { results } = await tidings.call("GET", "/api/invoices?status=settled");
    return results.length === 2;
  });
  const [opened, , , bounced] = await fillShop(tidings);
  const { results } = await tidings.call("GET", "/api/invoices?size=20");
  const invoice = results.find((invoice) => invoice.number === "D-1").id;
  const browser = await launch();
  const page = await open(browser, { viewport: { width: 1280, height: 860 }, timezoneId: "Europe/Madrid" });
  const pages = {
    overview: "/?range=90",
    messages: "/messages",
    message: `/messages/${opened}`,
    bounced: `/messages/${bounced}`,
    send: "/send",
    templates: "/templates",
    inbox: "/inbox",
    queue: "/queue",
    collections: "/collections",
    invoice: `/invoices/${invoice}`,
    events: "/business-events",
    person: "/people/customer/7",
    providers: "/settings/providers",
    limits: "/settings/limits",
  };
  await page.goto(tidings.url);
  for (const [name, path] of Object.entries(pages)) {
    await page.goto(tidings.url + path);
    await page.waitForTimeout(300);
    await page.screenshot({ path: `${folder}/${name}.png` });
  }
  await browser.close();
  tidings.stop();
});
