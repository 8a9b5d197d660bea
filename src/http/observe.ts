/**
 * What is seen from outside: one log line a request, the audit trail, metrics. Never a query, a header, a body: they hold
 * codes, tokens and secrets (RFC 9700 §4.2, §4.3, §4.9).
 */
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { AggregatorRegistry, Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client';
import type { Trace } from '../protocol/message.ts';

declare module 'fastify' {
  interface FastifyRequest {
    trace: Trace;
    /** The error code this request was refused with. */
    refusal: string | undefined;
    /** The caller's network address, past trusted proxies only; `unknown` where it hung up before anybody could ask. */
    source: string;
  }
}

/** What the audit trail learns of a request. */
export interface Observed {
  readonly event: string;
  readonly requestId: string;
  readonly clientId: string | undefined;
  readonly userId: string | undefined;
  readonly grantId: string | undefined;
  readonly source: string;
  readonly detail: Readonly<Record<string, unknown>>;
  readonly refusal: boolean;
}

/** Asked millions of times and changing nothing: the log has them, the trail does not. */
const NOT_AUDITED = new Set(['introspected', 'nothing_revoked']);

export class Metrics {
  readonly registry = new Registry();
  readonly #requests = new Histogram({
    name: 'gatehouse_request_seconds',
    help: 'Time to answer, by route and status',
    labelNames: ['route', 'status'],
    buckets: [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5],
    registers: [this.registry],
  });
  readonly #events = new Counter({
    name: 'gatehouse_events_total',
    help: 'What happened: tokens issued, sign-ins, refusals',
    labelNames: ['event'],
    registers: [this.registry],
  });

  constructor(gauges: Readonly<Record<string, { help: string; read(): number }>>) {
    collectDefaultMetrics({ register: this.registry });
    for (const [name, { help, read }] of Object.entries(gauges)) {
      new Gauge({
        name: `gatehouse_${name}`,
        help,
        registers: [this.registry],
        collect() {
          this.set(read());
        },
      });
    }
  }

  answered(route: string, status: number, seconds: number): void {
    this.#requests.observe({ route, status: String(status) }, seconds);
  }

  happened(event: string): void {
    this.#events.inc({ event });
  }

  get contentType(): string {
    return this.registry.contentType;
  }

  read(): Promise<string> {
    return this.registry.metrics();
  }
}

/** Metrics as Prometheus reads them. */
export type ReadableMetrics = Pick<Metrics, 'contentType' | 'read'>;

/** In a worker: answers the primary, which asks over the channel between them. */
export function answerPrimary(metrics: Metrics): void {
  AggregatorRegistry.setRegistries(metrics.registry);
  new AggregatorRegistry();
}

/** In the primary: the metrics of all workers, added up. */
export function workersMetrics(): ReadableMetrics {
  const all = new AggregatorRegistry();
  return { contentType: all.contentType, read: () => all.clusterMetrics() };
}

export function observe(app: FastifyInstance, metrics: Metrics, audit: (event: Observed) => void): void {
  // All that it says is named below, and nothing of it is a secret: to look for the names of secrets in each line costs as much
  // as the line.
  const log = app.log.child({}, { redact: [] });
  app.decorateRequest('trace', null as unknown as Trace);
  app.decorateRequest('refusal', undefined);
  app.decorateRequest('source', '');
  // Hooks of every request take a callback: each promise would be one more turn of the event loop's queue.
  app.addHook('onRequest', (request, _reply, done) => {
    request.trace = {};
    // Now, while there is a connection: a closed one has no address.
    request.source = (request.ip as string | undefined) ?? 'unknown';
    done();
  });
  app.addHook('onSend', (request, reply, _payload, done) => {
    const { raw } = reply;
    // What was done is seen whether or not the caller stayed for the answer, or whoever guesses would hang up each time. An answer
    // behind another one of its connection has no socket yet, and may never get one.
    if (raw.destroyed || !raw.socket) seen(request, reply);
    else raw.once('close', () => seen(request, reply));
    done();
  });
  const seen = (request: FastifyRequest, reply: FastifyReply) => {
    const route = request.routeOptions.url ?? 'unknown';
    const { trace } = request;
    metrics.answered(route, reply.statusCode, reply.elapsedTime / 1000);
    log.info(
      {
        requestId: request.id,
        method: request.method,
        route,
        status: reply.statusCode,
        // The answer did not get there.
        aborted: reply.raw.destroyed && !reply.raw.writableFinished ? true : undefined,
        ms: Math.round(reply.elapsedTime * 10) / 10,
        clientId: trace.clientId === undefined ? undefined : cut(trace.clientId),
        userId: trace.userId,
        grantId: trace.grantId,
        grantType: trace.grantType,
        reason: trace.reason,
        event: trace.event,
      },
      'answered',
    );
    if (trace.event !== undefined && !NOT_AUDITED.has(trace.event)) {
      metrics.happened(trace.event);
      audit(observed(request, route, trace.event, reply.statusCode >= 400));
    }
  };
}

/** The first 200 characters, never half of one: whoever invents ids fills neither the log nor the trail. */
function cut(text: string): string {
  return text.length <= 200 ? text : [...text].slice(0, 200).join('');
}

function observed(request: FastifyRequest, route: string, event: string, refused: boolean): Observed {
  const { trace, refusal } = request;
  return {
    event,
    requestId: request.id,
    clientId: trace.clientId === undefined ? undefined : cut(trace.clientId),
    userId: trace.userId,
    grantId: trace.grantId,
    source: request.source,
    detail: {
      route,
      ...(trace.grantType !== undefined && { grantType: trace.grantType }),
      ...(refusal !== undefined && { error: refusal }),
      ...(trace.reason !== undefined && { reason: trace.reason }),
    },
    // A form that is shown again (a wrong password) is refused as well, without an error code.
    refusal: refused || refusal !== undefined,
  };
}
