/**
 * The ceiling: a bare Fastify with a route for each workload that does the unavoidable and nothing else. It authenticates
 * nobody, checks nothing it need not read, logs nothing. How near a server comes is what its
 * own code costs.
 */
import { fastify } from 'fastify';
import { codeFlowRoutes } from './code-flow.ts';
import { fapiFlowRoutes } from './fapi-flow.ts';
import { machineRoutes } from './machines.ts';
import { passwordRoutes } from './password.ts';
import { People } from './people.ts';
import { Store } from './store.ts';

const { DATABASE_URL = '', PORT = '', CLIENT_KEY = '' } = process.env;
const store = new Store(DATABASE_URL);
await store.createTables();
const people = new People(store);
await people.create();

const app = fastify();
app.addContentTypeParser('application/x-www-form-urlencoded', { parseAs: 'string' }, (_request, body, done) =>
  done(null, body),
);
app.get('/ready', async () => ({}));
machineRoutes(app, store);
codeFlowRoutes(app, store, people);
fapiFlowRoutes(app, store, people, JSON.parse(CLIENT_KEY));
await passwordRoutes(app);
await app.listen({ port: Number(PORT), host: '127.0.0.1' });
