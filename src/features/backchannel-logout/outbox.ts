/**
 * The outbox: from "this sign-in is over" to "its clients know".
 *
 *   over ──announce──▶ pending ──claim (a lease)──▶ attempt ──┬─ 200, 204 ───────────────────▶ delivered
 *                         ▲                                    ├─ 400, client gone ───────────▶ failed
 *                         └──────── later and later ───────────┴─ anything else, 24 h ────────▶ failed
 *
 * The store holds facts, each attempt signs anew. A claim is a lease: whoever dies holding one just leaves it to the next, and
 * no two nodes make the same attempt. A receiver that hangs holds {@link PER_CLIENT} of {@link PARALLEL} places, so the
 * others are not kept waiting by it.
 */
import type { AuthorizationServer } from '../../protocol/authorization-server.ts';
import type { Context } from '../../protocol/context.ts';
import { mintLogoutToken } from './logout-token.ts';

/** Attempts under way in this process, and of them to one client. */
const PARALLEL = 6;
const PER_CLIENT = 2;
/** Milliseconds. More than any attempt takes. */
const LEASE = 30_000;
const FIRST_RETRY = 10_000;
const LONGEST_RETRY = 3_600_000;
const GIVE_UP_AFTER = 24 * 3_600_000;

/** One client to be told of the end of one sign-in, and the attempt this is. */
export interface Delivery {
  /** The client's latest grant of the sign-in: the delivery's key. */
  readonly grantId: string;
  readonly clientId: string;
  readonly userId: string;
  readonly signInId: string;
  readonly queuedAt: Date;
  /** From 1. */
  readonly attempt: number;
}

export type Outcome =
  | { readonly kind: 'delivered' }
  | { readonly kind: 'failed'; readonly error: string }
  | { readonly kind: 'retry'; readonly error: string; readonly at: Date };

export interface Deliveries {
  /** Queues a delivery for each client of some sign-ins that are over. One statement. */
  announce(now: Date): Promise<'more' | 'done'>;
  /**
   * Takes the delivery that has been due for longest, until `until`.
   * @param crowded clients that are to be passed over
   */
  claim(crowded: readonly string[], now: Date, until: Date): Promise<Delivery | undefined>;
  /** @returns `overtaken` when the lease ran out and somebody else has made an attempt since */
  settle(delivery: Delivery, outcome: Outcome, now: Date): Promise<'settled' | 'overtaken'>;
}

/**
 * Posts a form to an address of a client's metadata, following no redirect.
 * @returns the status of the answer
 * @throws Error saying in words for an operator why there is none
 */
export type Post = (uri: string, form: string) => Promise<number>;

export interface Outbox {
  announce(now: Date): Promise<void>;
  /** Begins the attempts that are due, as many as there are places; each that ends begins the next. */
  deliver(server: AuthorizationServer): Promise<void>;
  /** @throws what has failed by itself since this was asked last: for the log */
  report(): void;
  /** Both at once, waiting for neither and failing for nobody: what is not done now is done by the jobs. */
  hurry(now: Date, server: AuthorizationServer): void;
  /** Begins no more and waits for what is under way. */
  finish(): Promise<void>;
}

/** A place that is taken; by whom is known once something is claimed for it. */
interface Place {
  clientId?: string;
}

export function outbox(deliveries: Deliveries, post: Post): Outbox {
  const underWay = new Set<Promise<void>>();
  const places = new Set<Place>();
  let finishing = false;
  /** One run at a time looks for something to do: two at once would not see whom the other one is just taking on. */
  let filling: Promise<unknown> = Promise.resolve();

  let failure: { readonly error: unknown } | undefined;

  /** Lets `work` go on by itself. What fails is made up for by the next run or, after its lease, the next claim. */
  function begin(work: Promise<void>): void {
    const settled: Promise<void> = work
      .catch((error: unknown) => {
        failure = { error };
      })
      .finally(() => underWay.delete(settled));
    underWay.add(settled);
  }

  function crowded(): string[] {
    const all = [...places].flatMap(({ clientId }) => (clientId === undefined ? [] : [clientId]));
    return all.filter((clientId) => all.filter((other) => other === clientId).length >= PER_CLIENT);
  }

  async function announce(now: Date): Promise<void> {
    while ((await deliveries.announce(now)) === 'more' && !finishing);
  }

  function deliver(server: AuthorizationServer): Promise<void> {
    const turn = filling.then(() => fillAll(server));
    filling = turn.catch(() => undefined);
    return turn;
  }

  async function fillAll(server: AuthorizationServer): Promise<void> {
    while (!finishing && places.size < PARALLEL) {
      const place: Place = {};
      places.add(place);
      const found = await fill(place, server).catch((error: unknown) => {
        places.delete(place);
        throw error;
      });
      if (!found) return;
    }
  }

  /** @returns whether there was anything to do */
  async function fill(place: Place, server: AuthorizationServer): Promise<boolean> {
    const now = server.context.now();
    const delivery = await deliveries.claim(crowded(), now, new Date(now.getTime() + LEASE));
    if (!delivery) {
      places.delete(place);
      return false;
    }
    place.clientId = delivery.clientId;
    begin(
      attempt(delivery, post, server)
        .then((outcome) => deliveries.settle(delivery, outcome, server.context.now()))
        .finally(() => places.delete(place))
        .then(() => deliver(server)),
    );
    return true;
  }

  return {
    announce,
    deliver,
    report() {
      const told = failure;
      failure = undefined;
      if (told) throw told.error;
    },
    hurry: (now, server) => begin(announce(now).then(() => deliver(server))),
    async finish() {
      finishing = true;
      while (underWay.size > 0) await Promise.all(underWay);
    },
  };
}

async function attempt(delivery: Delivery, post: Post, server: AuthorizationServer): Promise<Outcome> {
  try {
    const client = await server.catalogue.client(delivery.clientId);
    const uri = client?.metadata.backchannel_logout_uri;
    if (!client) return { kind: 'failed', error: 'the client was deleted' };
    if (client.disabled) return { kind: 'failed', error: 'the client is disabled' };
    if (typeof uri !== 'string') return { kind: 'failed', error: 'the client has no backchannel_logout_uri any more' };
    const token = await mintLogoutToken(client, delivery, server.context.now(), server);
    const status = await post(uri, new URLSearchParams({ logout_token: token }).toString());
    // §2.8: 200 is success, and frameworks that make 204 of an empty one are tolerated.
    if (status === 200 || status === 204) return { kind: 'delivered' };
    if (status === 400) return { kind: 'failed', error: 'the client refused the logout token (400)' };
    return later(delivery, `the answer was ${status}`, server.context);
  } catch (error) {
    // Also what is wrong with us or with the client's keys: it is for the operator to see, and to mend within the day.
    return later(delivery, error instanceof Error ? error.message : 'no answer', server.context);
  }
}

/** The next attempt, later and later and at no two nodes' common moment, or none any more. */
function later(delivery: Delivery, error: string, context: Context): Outcome {
  const longest = Math.min(FIRST_RETRY * 2 ** (delivery.attempt - 1), LONGEST_RETRY);
  const wait = longest * (0.5 + context.random(2).readUInt16BE() / 0x20000);
  const at = new Date(context.now().getTime() + Math.round(wait));
  const last = delivery.queuedAt.getTime() + GIVE_UP_AFTER;
  return at.getTime() > last
    ? { kind: 'failed', error: `given up after a day: ${error}` }
    : { kind: 'retry', error, at };
}
