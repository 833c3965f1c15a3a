// Sends the same invoices through Tidings and through a lean Node sender, one after the other and several times, and
// prints what each took and the ratios. The CPU is that of the server processes alone, until all has reached the sink.
// usage: bench.mjs MESSAGES CALLERS REPEATS
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, statSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { Pool, request } from 'undici';
import { TEMPLATE, variables } from './invoice.mjs';

const [messages, callers, repeats] = process.argv.slice(2).map(Number);
const program = process.env.TIDINGS_PROGRAM;
/** Another build of Tidings to compare with, such as the one before a change. */
const earlier = process.env.TIDINGS_EARLIER_PROGRAM;
const here = import.meta.dirname;
const WARM_UP = 500;
const SINK = 'http://127.0.0.1:18080';

const running = new Set();
process.on('exit', () => running.forEach((child) => child.kill('SIGKILL')));

function start(command, args, options = {}) {
    const child = spawn(command, args, { stdio: ['ignore', 'ignore', 'inherit'], ...options });
    running.add(child);
    child.ended = new Promise((resolve) => child.on('exit', resolve));
    return child;
}

async function stop(child) {
    child.kill('SIGTERM');
    await child.ended;
    running.delete(child);
}

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

async function until(what, check) {
    for (let tries = 0; tries < 6000; tries += 1) {
        if (await check().catch(() => false)) return;
        await pause(10);
    }
    throw new Error(`waited a minute for ${what}`);
}

/** Seconds of CPU of processes: fields 14 and 15 of their stat, in hundredths. */
function cpu(children) {
    const ticks = children.map(({ pid }) => readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' '));
    return ticks.reduce((sum, fields) => sum + Number(fields[11]) + Number(fields[12]), 0) / 100;
}

const memory = (children) =>
    children.reduce((sum, { pid }) => {
        const status = readFileSync(`/proc/${pid}/status`, 'utf8');
        return sum + Number(/VmRSS:\s+(\d+)/.exec(status)[1]) / 1024;
    }, 0);

const sizeOf = (folder) =>
    readdirSync(folder, { withFileTypes: true, recursive: true })
        .filter((entry) => entry.isFile())
        .reduce((sum, entry) => sum + statSync(join(entry.parentPath, entry.name)).size, 0);

const arrived = async () => Number(await (await request(SINK)).body.text());

/** Sends from `callers` connections at once, and returns the latency of each answer in milliseconds. */
async function load(url, count, body) {
    const pool = new Pool(url, { connections: callers });
    const latencies = [];
    let next = 0;
    const caller = async () => {
        while (next < count) {
            const number = next;
            next += 1;
            const began = performance.now();
            const answer = await pool.request({
                path: '/api/communications/send',
                method: 'POST',
                headers: { 'content-type': 'application/json', authorization: 'Bearer td_test_local' },
                body: JSON.stringify(body(number)),
            });
            const text = await answer.body.text();
            if (answer.statusCode >= 300) throw new Error(`${answer.statusCode}: ${text}`);
            latencies.push(performance.now() - began);
        }
    };
    await Promise.all(Array.from({ length: callers }, caller));
    await pool.close();
    return latencies.sort((a, b) => a - b);
}

async function measure({ url, servers, folder, body }) {
    let before = await arrived();
    await load(url, WARM_UP, (number) => body(`warm-${number}`));
    await until('the warm-up', async () => (await arrived()) >= before + WARM_UP);
    await pause(500);
    before = await arrived();
    const [began, used, size] = [performance.now(), cpu(servers), sizeOf(folder)];
    const latencies = await load(url, messages, (number) => body(`${began.toFixed()}-${number}`));
    const accepted = performance.now() - began;
    await until('all messages', async () => (await arrived()) >= before + messages);
    const all = performance.now() - began;
    // What follows a message, such as lists and counters, belongs to its cost.
    let last;
    await until('idleness', async () => {
        const now = cpu(servers);
        const isIdle = now === last;
        last = now;
        if (!isIdle) await pause(300);
        return isIdle;
    });
    const at = (share) => latencies[Math.floor((latencies.length - 1) * share)];
    return {
        'accepted/s': (messages / accepted) * 1000,
        'at provider/s': (messages / all) * 1000,
        'p50 ms': at(0.5),
        'p99 ms': at(0.99),
        'CPU ms': ((last - used) / messages) * 1000,
        'RSS MB': memory(servers),
        'disk B': (sizeOf(folder) - size) / messages,
    };
}

const message = (extra) => (number) => ({
    channel: 'email',
    type: 'invoice',
    recipientContact: `customer-${number}@example.com`,
    recipientId: `customer-${number}`,
    entityType: 'invoice',
    entityId: `INV-${number}`,
    templateVariables: variables(number),
    ...extra,
});

const tidings = (program) => async (folder) => {
    const url = 'http://127.0.0.1:17070';
    const data = join(folder, 'data');
    const server = start(program, ['--port', '17070', '--data', data, '--quiet', '--providers', SINK]);
    await until('tidings', async () => (await request(`${url}/health`)).statusCode === 200);
    const answer = await request(`${url}/api/communication-templates`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', authorization: 'Bearer td_test_local' },
        body: JSON.stringify({
            name: 'Invoice', code: 'peer_invoice', channel: 'email', type: 'invoice', locale: 'en',
            subjectTemplate: 'Invoice {{invoiceNumber}}', bodyTemplate: TEMPLATE,
        }),
    });
    if (answer.statusCode !== 201) throw new Error(await answer.body.text());
    const body = message({ templateId: 'peer_invoice' });
    return { url, servers: [server], folder: data, body };
};

const leanNode = (isSynced) => async (folder) => {
    const sync = isSynced ? ['--appendonly', 'yes', '--appendfsync', 'always'] : ['--appendonly', 'no'];
    const redis = start('redis-server', ['--port', '16379', '--dir', folder, '--save', '', '--loglevel', 'warning', ...sync]);
    await pause(500);
    const node = start(process.execPath, [join(here, 'lean-node.mjs'), '17071', '16379', SINK], {
        env: { ...process.env, NODE_ENV: 'production' },
    });
    const url = 'http://127.0.0.1:17071';
    await until('lean Node', async () => (await request(url)).statusCode === 404);
    return { url, servers: [node, redis], folder, body: message({}) };
};

const PEERS = {
    'Tidings, disk, fully durable': tidings(program),
    ...(earlier && { 'Tidings before': tidings(earlier) }),
    'lean Node, Redis in memory': leanNode(false),
    'lean Node, Redis log synced': leanNode(true),
};

const median = (values) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];
const results = Object.fromEntries(Object.keys(PEERS).map((name) => [name, []]));
const sink = start(process.execPath, [join(here, 'sink.mjs'), '18080']);
await until('the sink', async () => (await request(SINK)).statusCode === 200);
try {
    for (let repeat = 0; repeat < repeats; repeat += 1) {
        for (const [name, run] of Object.entries(PEERS)) {
            const folder = mkdtempSync(join(process.env.TIDINGS_BENCH_DATA ?? '.', '.peers-'));
            const peer = await run(folder);
            results[name].push(await measure(peer));
            for (const server of peer.servers) await stop(server);
            rmSync(folder, { recursive: true });
        }
    }
} finally {
    await stop(sink);
}

console.log(`${messages} templated invoices, ${callers} callers, medians of ${repeats} runs, one after the other`);
const rows = Object.entries(results).map(([name, runs]) => {
    const figures = Object.keys(runs[0]).map((figure) => [figure, median(runs.map((run) => run[figure]))]);
    return [name, Object.fromEntries(figures.map(([figure, value]) => [figure, Number(value.toPrecision(3))]))];
});
console.table(Object.fromEntries(rows));
const [ours, ...others] = Object.keys(PEERS);
for (const other of others) {
    const ratio = (figure) => median(results[ours].map((run, index) => run[figure] / results[other][index][figure]));
    const figures = ['CPU ms', 'accepted/s', 'at provider/s', 'p99 ms'];
    console.log(`Tidings / ${other}:`, figures.map((figure) => `${figure} ${ratio(figure).toFixed(2)}`).join(', '));
}
