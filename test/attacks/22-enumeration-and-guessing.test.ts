/**
 * The attacker has a list of names, or one name and a list of passwords, many connections and perhaps many networks; or
 * wants somebody locked out. They learn from any difference between a name that exists and one that does not.
 * Stopped by: one answer, one hash and the same statements for all; failures counted before the password is looked at,
 * by source, by name and by whoever the name leads to, in the database that all nodes share; a count of its own for a
 * browser that has signed in with the name before; windows that end.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { setUserDisabled } from '../../src/postgres/people.pg.ts';
import { auditOf, query } from '../support/attack-aftermath.ts';
import { authorizePath, formTo, pkce, signIn, TestBrowser, type Visit } from '../support/browser.ts';
import type { TestServer } from '../support/server.ts';
import { startWorld, WEB_REDIRECT, type World } from '../support/world.ts';

describe('guessing names and passwords', () => {
  let world: World;
  let other: TestServer;
  beforeAll(async () => {
    world = await startWorld();
    other = await world.node();
    const id = await world.user({ username: 'dormant', password: 'secret' });
    await setUserDisabled(world.running.database.sql, id, true, world.clock.now());
  });
  afterAll(async () => {
    await other.close();
    await world.close();
  });
  // Every test begins with empty windows.
  beforeEach(() => world.clock.advance(16 * 60));

  const request = () =>
    authorizePath({ client_id: 'web', redirect_uri: WEB_REDIRECT, scope: 'openid', code_challenge: pkce().challenge });

  async function attempt(
    username: string,
    password: string,
    browser?: TestBrowser,
    server: TestServer = world,
  ): Promise<Visit> {
    const visitor = browser ?? new TestBrowser(server);
    return signIn(visitor, await visitor.visit('/login'), username, password);
  }

  const hashes = () => world.running.passwords.hashes + other.running.passwords.hashes;
  const fail = async (times: number, username: string, server: TestServer = world) => {
    const answers = [];
    for (let time = 0; time < times; time += 1)
      answers.push((await attempt(username, 'wrong', undefined, server)).status);
    return answers;
  };

  /** A page without what is different in each: tokens, ids, the name that was typed. */
  const shape = ({ status, body, headers }: Visit, username: string) => ({
    status,
    body: body
      .replaceAll(username, 'NAME')
      .replace(/[\w-]{43}/g, 'TOKEN')
      .replace(/[0-9a-f-]{36}/g, 'ID'),
    headers: [...headers].filter(([name]) => !['date', 'x-request-id', 'content-length', 'set-cookie'].includes(name)),
    cookies: headers.getSetCookie().map((line) => line.replace(/=[^;]*/, '')),
  });

  describe.each([
    ['on the plain sign-in page', '/login'],
    ['within a client’s request', undefined],
  ])('%s', (_name, address) => {
    it('a name that exists, one that does not, and a disabled one get the same answer', async () => {
      const seen = [];
      for (const username of ['alice', 'nobody', 'dormant', 'alice@people.example', 'nobody@people.example']) {
        const browser = new TestBrowser(world);
        seen.push(
          shape(await signIn(browser, await browser.visit(address ?? request()), username, 'secret'), username),
        );
      }
      expect(seen[0]?.status).toBe(400);
      for (const answer of seen) expect(answer).toEqual(seen[0]);
    });

    it('for the same hashes and the same statements', async () => {
      const costs: { trips: number; hashes: number }[] = [];
      for (const username of ['alice', 'nobody', 'dormant', 'alice@people.example']) {
        const prepare = async () => {
          const browser = new TestBrowser(world);
          return { browser, page: await browser.visit(address ?? request()) };
        };
        const before = hashes();
        const trips = await world.roundTripsOf(prepare, ({ browser, page }) => {
          const { action, fields } = formTo(page, '/login');
          return browser.send('POST', action, { ...fields, username, password: 'secret' });
        });
        costs.push({ trips, hashes: hashes() - before });
      }
      // roundTripsOf looks five times.
      expect(costs).toEqual(costs.map(() => ({ trips: costs[0]?.trips, hashes: 5 })));
    });
  });

  it('ten failures on an account are answered, on whatever node; the next is refused unhashed, the right password too', async () => {
    expect(await fail(5, 'alice')).toEqual(Array(5).fill(400));
    expect(await fail(5, 'ALICE', other)).toEqual(Array(5).fill(400));
    const before = hashes();
    for (const server of [world, other]) {
      const refused = await attempt('alice', 'wonderland', undefined, server);
      expect(refused.status).toBe(429);
      expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0);
      expect(refused.body).toContain('too many attempts');
    }
    expect(hashes()).toBe(before);
    expect((await attempt('bob', 'builder')).url).toContain('/account');
  });

  it('a name that does not exist is throttled alike', async () => {
    expect(await fail(11, 'nobody')).toEqual([...Array(10).fill(400), 429]);
  });

  describe('guesses at user name and e-mail of one person', () => {
    it('add up: after ten in all even the right password is taken for wrong', async () => {
      expect(await fail(6, 'alice')).toEqual(Array(6).fill(400));
      expect(await fail(4, 'alice@people.example', other)).toEqual(Array(4).fill(400));
      for (const username of ['alice', 'alice@people.example']) {
        const { status, body } = await attempt(username, 'wonderland');
        expect([status, body.includes('is not right')]).toEqual([400, true]);
      }
      world.clock.advance(15 * 60 + 1);
      expect((await attempt('alice', 'wonderland')).url).toContain('/account');
    });

    it('look like guesses at two names of nobody: the two are not given away', async () => {
      const seen = [];
      for (const [name, email] of [
        ['alice', 'alice@people.example'],
        ['nobody', 'nobody@people.example'],
      ] as const) {
        world.clock.advance(16 * 60);
        const before = hashes();
        const answers = [await fail(10, name), await fail(11, email), await fail(1, name)];
        seen.push({ answers, hashes: hashes() - before });
      }
      expect(seen[0]?.answers).toEqual([Array(10).fill(400), [...Array(10).fill(400), 429], [429]]);
      expect(seen[1]).toEqual(seen[0]);
    });

    it('shut nobody out who signs in from a browser of theirs', async () => {
      const owner = new TestBrowser(world);
      await attempt('alice@people.example', 'wonderland', owner);
      await owner.submit(formTo(await owner.visit('/logout'), '/logout'));
      await fail(6, 'alice');
      await fail(6, 'alice@people.example');
      expect((await attempt('alice@people.example', 'wonderland', owner)).url).toContain('/account');
    });

    it('are cleared by a success under either', async () => {
      await fail(5, 'alice');
      await fail(4, 'alice@people.example');
      expect((await attempt('alice', 'wonderland')).url).toContain('/account');
      await fail(5, 'alice');
      expect((await attempt('alice', 'wonderland')).url).toContain('/account');
    });
  });

  it('guesses at once on two nodes get no more than the same ten', async () => {
    const pages = await Promise.all(
      Array.from({ length: 40 }, async (_, index) => {
        const browser = new TestBrowser(index % 2 ? other : world);
        return { browser, page: await browser.visit('/login') };
      }),
    );
    const before = hashes();
    const answers = await Promise.all(pages.map(({ browser, page }) => signIn(browser, page, 'alice', 'wrong')));
    expect(answers.filter(({ status }) => status === 400)).toHaveLength(10);
    expect(answers.filter(({ status }) => status === 429)).toHaveLength(30);
    expect(hashes() - before).toBe(10);
  });

  it('a hundred failures from one source, whatever the names, are answered; the next is refused for every name', async () => {
    const pages = await Promise.all(
      Array.from({ length: 100 }, async (_, index) => {
        const browser = new TestBrowser(index % 2 ? other : world);
        return { browser, page: await browser.visit('/login'), username: `guess-${index}` };
      }),
    );
    // In parts: the queue for hashing is bounded.
    for (let from = 0; from < 100; from += 25) {
      const answers = await Promise.all(
        pages.slice(from, from + 25).map(({ browser, page, username }) => signIn(browser, page, username, 'wrong')),
      );
      expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([400]));
    }
    const before = hashes();
    expect((await attempt('bob', 'builder')).status).toBe(429);
    expect((await attempt('one-more', 'wrong', undefined, other)).status).toBe(429);
    expect(hashes()).toBe(before);
  });

  it('a stranger cannot lock out the owner of a browser that has signed in before', async () => {
    const owner = new TestBrowser(world);
    await attempt('alice', 'wonderland', owner);
    await owner.submit(formTo(await owner.visit('/logout'), '/logout'));
    await fail(11, 'alice');
    expect((await attempt('alice', 'wonderland')).status).toBe(429);
    expect((await attempt('alice', 'wonderland', owner)).url).toContain('/account');
  });

  it('and that browser has no more guesses than any other, nor any for other names', async () => {
    const owner = new TestBrowser(world);
    await attempt('alice', 'wonderland', owner);
    const answers = [];
    for (let time = 0; time < 11; time += 1) answers.push((await attempt('alice', 'wrong', owner.clone())).status);
    expect(answers).toEqual([...Array(10).fill(400), 429]);

    await fail(10, 'bob');
    expect((await attempt('bob', 'builder', owner.clone())).status).toBe(429);
  });

  it('an invented device cookie is worth nothing', async () => {
    const owner = new TestBrowser(world);
    await attempt('bob', 'builder', owner);
    const [name = '', value = ''] = [...owner.cookies].find(([cookie]) => cookie.includes('_device_')) ?? [];
    await fail(10, 'alice');
    const [nonce, tag] = value.split('.');
    for (const invented of [
      value,
      `x.${tag}`,
      `${nonce}.`,
      `.${tag}`,
      `${nonce}.${'A'.repeat(43)}`,
      `${value}.x`,
      '.',
    ]) {
      const browser = new TestBrowser(world);
      browser.cookies.set(name, invented);
      expect((await attempt('alice', 'wonderland', browser)).status).toBe(429);
    }
  });

  it('strangers who fill the queue of passwords use up nobody’s attempts', async () => {
    const { passwords } = world.running;
    let over = false;
    // As many as run and wait, each again at once: the queue is never seen with room in it.
    const strangers = Array.from({ length: 102 }, async () => {
      while (!over) await passwords.verify(undefined, 'wrong').catch(() => new Promise(setImmediate));
    });
    const answers = [];
    for (let time = 0; time < 12; time += 1) answers.push((await attempt('alice', 'wonderland')).status);
    over = true;
    await Promise.all(strangers);
    expect(answers).toEqual(Array(12).fill(503));
    expect((await attempt('alice', 'wonderland')).url).toContain('/account');
  });

  it('the lock ends, though the stranger goes on', async () => {
    await fail(14, 'alice');
    world.clock.advance(15 * 60 + 1);
    expect((await attempt('alice', 'wonderland')).url).toContain('/account');
  });

  it('a success clears the account’s count', async () => {
    await fail(9, 'alice');
    await attempt('alice', 'wonderland');
    expect(await fail(10, 'alice')).toEqual(Array(10).fill(400));
  });

  it('the table of attempts tells nobody who tried what, and the trail names no password', async () => {
    const nodes = [world.issuer, other.issuer];
    const trail = await auditOf(world, 'sign_in_failed', () => attempt('alice', 'a-guess-in-clear'), nodes);
    expect(trail.map(({ event, times }) => [event, times])).toEqual([['sign_in_failed', 1]]);
    const rows = await query<{ row: string }>(world, 'SELECT a::text AS row FROM sign_in_attempts a');
    expect(rows.length).toBeGreaterThan(0);
    expect(JSON.stringify([rows, trail])).not.toMatch(/alice|a-guess-in-clear/);
  });

  it.each([
    ['no name', '', 'x'],
    ['no password', 'alice', ''],
    ['a name of white space', '   ', 'x'],
    ['a name of 1000 characters', 'a'.repeat(1000), 'x'],
    ['a password of 5000 bytes', 'alice', 'x'.repeat(5000)],
  ])('%s costs no hash', async (_name, username, password) => {
    const browser = new TestBrowser(world);
    const page = await browser.visit('/login');
    const before = hashes();
    const answer = await browser.send('POST', '/login', { ...formTo(page, '/login').fields, username, password });
    expect(answer.status).toBe(400);
    expect(hashes()).toBe(before);
  });

  it.each(['\uFF41\uFF4C\uFF49\uFF43\uFF45', 'ALICE', 'aLiCe', '\u212Aate', 'kate'])(
    'a name that looks like one that is taken (%j) is taken',
    async (username) => {
      await world.user({ username: 'Kate', password: 'x' }).catch(() => undefined);
      await expect(world.user({ username, password: 'x' })).rejects.toThrow('taken');
    },
  );

  it.each([
    ['another’s address as a name', { username: 'alice@people.example', password: 'x' }],
    [
      'another’s address as one’s own',
      { username: 'mallory', password: 'x', claims: { email: 'ALICE@people.example' } },
    ],
    [
      'an address in other characters',
      { username: 'mallory', password: 'x', claims: { email: 'al\uFF49ce@people.example' } },
    ],
    [
      'an address for a name, with another as one’s own',
      { username: 'x@people.example', password: 'x', claims: { email: 'y@people.example' } },
    ],
  ])('%s is refused', async (_name, user) => {
    await expect(world.user(user)).rejects.toThrow();
  });
});
