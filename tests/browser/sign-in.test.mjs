// Signing in at a real identity provider: oidc-provider, on loopback.
import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import { Tidings, faultsOf, freePort, launch, open, provider } from "./support.mjs";

const PERSON = { tenant: "local", role: "viewer", mode: "test" };
let issuer, server, tidings, browser;

/** An identity provider that knows one person, and asks only for a name. */
async function startIssuer(port, redirect) {
  const { default: Provider } = await provider();
  const claims = async () => ({ sub: "noor", ...PERSON });
  const oidc = new Provider(`http://127.0.0.1:${port}`, {
    clients: [{ client_id: "console", client_secret: "a-secret-for-tests", redirect_uris: [redirect], grant_types: ["authorization_code"], response_types: ["code"] }],
    claims: { openid: ["sub", ...Object.keys(PERSON)] },
    conformIdTokenClaims: false,
    findAccount: (_, id) => ({ accountId: id, claims }),
    pkce: { required: () => true },
    cookies: { keys: ["a-key-for-tests"] },
    features: { devInteractions: { enabled: true } },
  });
  return new Promise((done) => {
    const server = createServer(oidc.callback()).listen(port, "127.0.0.1", () => done(server));
  });
}

before(async () => {
  const [port, issuerPort] = [await freePort(), await freePort()];
  issuer = `http://127.0.0.1:${issuerPort}`;
  server = await startIssuer(issuerPort, `http://127.0.0.1:${port}/session/callback`);
  const options = ["--jwt-issuer", issuer, "--jwt-audience", "tidings", "--jwks-url", `${issuer}/jwks`, "--console-client-id", "console"];
  tidings = await Tidings.start({ port, env: { TIDINGS_CONSOLE_CLIENT_SECRET: "a-secret-for-tests" } }, ...options);
  browser = await launch();
});

after(async () => {
  await browser?.close();
  tidings?.stop();
  server?.close();
});

async function signIn(page) {
  await page.locator("a", { hasText: "Sign in" }).click();
  await page.locator("[name=login]").fill("noor");
  await page.locator("[name=password]").fill("x");
  await page.locator("[type=submit]").click();
  await page.locator("[type=submit]").click();
}

test("a person signs in, sees what their role may see, and signs out", async () => {
  const page = await open(browser);
  await page.goto(`${tidings.url}/messages?status=failed`);
  assert.match(page.url(), /\/session\/sign-in\?to=/);
  assert.deepEqual(await faultsOf(page), []);
  await signIn(page);
  await page.waitForURL(`${tidings.url}/messages?status=failed`);
  assert.equal(await page.locator("h1").innerText(), "Messages");
  const cookies = await page.context().cookies(tidings.url);
  const session = cookies.find((cookie) => cookie.name === "__Host-session");
  assert.ok(session.httpOnly && session.secure && session.sameSite === "Lax");
  await page.goto(`${tidings.url}/collections`);
  await page.locator("button", { hasText: "Switch reminders on" }).click();
  assert.match(await page.locator("h1").innerText(), /permission/);
  await page.goto(`${tidings.url}/`);
  await page.locator("button", { hasText: "Sign out" }).click();
  assert.equal(await page.locator("h1").innerText(), "You are signed out");
  await page.goto(`${tidings.url}/messages`);
  assert.match(page.url(), /\/session\/sign-in/);
  await page.context().close();
});

test("a sign-in that was begun in another browser is refused", async () => {
  const page = await open(browser);
  const answer = await page.goto(`${tidings.url}/session/callback?code=x&state=y`);
  assert.equal(answer.status(), 403);
  assert.match(await page.locator("h1").innerText(), /not signed in/);
  assert.deepEqual(await faultsOf(page), []);
  await page.context().close();
});
