/**
 * The ceiling: a bare Fastify with a route for each workload that does the unavoidable and nothing else. It authenticates
 * nobody, checks nothing it need not read, logs nothing. No server on this stack can be faster; how near one comes is what its
 * own code costs.
 */
import { fastify } from 'fastify';
import { machineRoutes } from './machines.ts';
import { Store } from './store.ts';

const { DATABASE_URL = '', PORT = '' } = process.env;
const store = new Store(DATABASE_URL);
await store.createTables();

const app = fastify();
app.addContentTypeParser('application/x-www-form-urlencoded', { parseAs: 'string' }, (_request, body, done) =>
  done(null, body),
);
app.get('/ready', async () => ({}));
machineRoutes(app, store);
await app.listen({ port: Number(PORT), host: '127.0.0.1' });
