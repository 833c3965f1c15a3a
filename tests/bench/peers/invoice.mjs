// The same invoice for every peer: a template with ten amounts and two dates, and the variables of one message.

const LINES = 8;

export const TEMPLATE = `<h1>Invoice {{invoiceNumber}}</h1>
<p>Dear {{customerName}}, {{businessName}} sends you the invoice of {{date issued "long"}}.</p>
<table>{{#each items}}<tr><td>{{name}}</td><td>{{quantity}}</td><td>{{currency price "EUR"}}</td></tr>{{/each}}</table>
<p>Tax {{currency tax "EUR"}}, total <b>{{currency total "EUR"}}</b>, due on {{date due "long"}}.</p>
<p><a href="{{link}}">Pay now</a></p>`;

export function variables(number) {
    const items = Array.from({ length: LINES }, (_, line) => ({
        name: `Service no. ${line + 1}`,
        quantity: line + 1,
        price: 19.9 * (line + 1),
    }));
    return {
        invoiceNumber: `INV-${number}`,
        customerName: 'Ada Lovelace',
        businessName: 'Acme',
        issued: '2026-11-01',
        due: '2026-12-01',
        items,
        tax: 143.28,
        total: 859.68,
        link: `https://pay.example.com/i/${number}`,
    };
}
