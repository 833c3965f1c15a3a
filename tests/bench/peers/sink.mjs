// Stands for the email provider: takes every POST, answers as SendGrid does, and tells on GET how many came.
import { createServer } from 'node:http';

let taken = 0;
createServer((request, response) => {
    if (request.method === 'GET') return response.end(String(taken));
    request.resume().on('end', () => {
        taken += 1;
        response.writeHead(202, { 'x-message-id': `sink-${taken}-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa` }).end();
    });
}).listen(Number(process.argv[2]), '127.0.0.1');
