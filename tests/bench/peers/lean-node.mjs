// What a team would write in a day: an HTTP endpoint that queues a job in Redis, and a worker that renders and sends it.
// usage: lean-node.mjs PORT REDIS_PORT SINK_URL
import { Queue, Worker } from 'bullmq';
import fastify from 'fastify';
import Handlebars from 'handlebars';
import { Pool } from 'undici';
import { TEMPLATE } from './invoice.mjs';

const [port, redisPort, sink] = process.argv.slice(2);
const connection = { host: '127.0.0.1', port: Number(redisPort), maxRetriesPerRequest: null };
const euros = new Intl.NumberFormat('en-US', { style: 'currency', currency: 'EUR' });
const dates = new Intl.DateTimeFormat('en-US', { dateStyle: 'long', timeZone: 'UTC' });
Handlebars.registerHelper('currency', (amount) => euros.format(amount));
Handlebars.registerHelper('date', (text) => dates.format(new Date(text)));
const render = Handlebars.compile(TEMPLATE);

const queue = new Queue('email', { connection });
const provider = new Pool(sink, { connections: 16 });
new Worker(
    'email',
    async ({ data }) => {
        const body = JSON.stringify({
            personalizations: [{ to: [{ email: data.recipientContact }] }],
            from: { email: 'billing@acme.example', name: 'Acme' },
            subject: `Invoice ${data.templateVariables.invoiceNumber}`,
            content: [{ type: 'text/html', value: render(data.templateVariables) }],
        });
        const answer = await provider.request({
            path: '/v3/mail/send',
            method: 'POST',
            headers: { 'content-type': 'application/json' },
            body,
        });
        await answer.body.dump();
        if (answer.statusCode !== 202) throw new Error(`the provider answered ${answer.statusCode}`);
    },
    { connection, concurrency: 16 },
);

const app = fastify();
app.post('/api/communications/send', async (request, reply) => {
    const job = await queue.add('send', request.body, { removeOnComplete: true, removeOnFail: 1000, attempts: 5 });
    return reply.code(202).send({ communicationId: job.id, status: 'queued' });
});
await app.listen({ host: '127.0.0.1', port: Number(port) });
