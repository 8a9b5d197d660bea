/**
 * The attacker is an application that a person is just removing, or somebody who knows a password that is just being
 * changed: they keep requests in flight at that very moment, decided before it and answered after. Stopped by: what a
 * step was decided on is asked again by the statement that acts on it.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { setPassword, setUserDisabled } from '../../src/postgres/people.pg.ts';
import { query, tally } from '../support/attack-aftermath.ts';
import { DEAD, type Issued, refreshed, worth } from '../support/attack-tokens.ts';
import { authorizePath, formTo, pkce, signIn, TestBrowser } from '../support/browser.ts';
import { getCode, redeem, startWorld, WEB_REDIRECT, type World } from '../support/world.ts';

describe('taken back while an answer is on its way', () => {
  let world: World;
  beforeAll(async () => {
    world = await startWorld();
  });
  afterAll(() => world.close());

  const request = (parameters: Record<string, string> = {}) =>
    authorizePath({
      client_id: 'web',
      redirect_uri: WEB_REDIRECT,
      scope: 'openid photos.read',
      code_challenge: pkce().challenge,
      ...parameters,
    });

  it('a yes that was taken back before its code was made gives no code', async () => {
    const { browser } = await getCode(world);
    const page = await browser.visit(request({ prompt: 'consent' }));
    const answered = await browser.send('POST', '/consent', { ...formTo(page, '/consent').fields, decision: 'allow' });
    // She thinks again in another tab.
    await browser.submit(formTo(await browser.visit('/account'), '/account/access'));
    const before = await tally(world);
    const late = await browser.send('GET', answered.location ?? '');
    expect(late.location ?? '').not.toContain('code=');
    expect(await tally(world)).toEqual(before);
    // And the page of what has access tells the truth: nothing has.
    expect((await browser.visit('/account')).body).toContain('No app has access');
  });

  it('removing access against a client that asks without end: afterwards it has nothing that lives', async () => {
    for (let round = 0; round < 5; round += 1) {
      const flow = await getCode(world);
      const { browser } = flow;
      const form = formTo(await browser.visit('/account'), '/account/access');
      const { verifier, challenge } = pkce();
      const silent = request({ prompt: 'none', code_challenge: challenge });
      const [, ...answers] = await Promise.all([
        browser.clone().submit(form),
        ...Array.from({ length: 20 }, () => browser.clone().send('GET', silent)),
      ]);
      for (const { location = '' } of answers) {
        const code = new URL(location, world.issuer).searchParams.get('code');
        if (code === null) continue;
        const issued = await redeem(world, { code, verifier, redirectUri: WEB_REDIRECT });
        expect(issued.json.error).toBe('invalid_grant');
      }
      expect((await redeem(world, flow)).json.error).toBe('invalid_grant');
    }
  });

  it('withdrawal against redemption and refresh: afterwards nothing is active', async () => {
    for (let round = 0; round < 5; round += 1) {
      const flow = await getCode(world, { client: 'spa' });
      const { browser } = flow;
      const form = formTo(await browser.visit('/account'), '/account/access');
      const [issued] = await Promise.all([redeem(world, flow, 'spa'), browser.submit(form, { client_id: 'spa' })]);
      const { access_token, refresh_token } = issued.json as unknown as Issued;
      if (access_token !== undefined) {
        expect(await worth(world, access_token)).toEqual(DEAD);
        expect(await refreshed(world, refresh_token, 'spa')).toBe('invalid_grant');
      }
    }
  });

  it('a password that is changed while it is being checked signs nobody in', async () => {
    const { sql } = world.running.database;
    const { passwords } = world.running;
    const hash = await passwords.hash('wonderland');
    for (const change of [
      () => setPassword(sql, world.alice, hash, world.clock.now()),
      () => setUserDisabled(sql, world.alice, true, world.clock.now()),
    ]) {
      world.clock.advance(16 * 60);
      const browser = new TestBrowser(world);
      const page = await browser.visit('/login');
      // Sixty hashes before it: the person is looked up at once, the password checked after the change.
      const before = passwords.hashes;
      const queue = Array.from({ length: 60 }, () => passwords.hash('something else'));
      const attempts = () => query(world, 'SELECT 1 FROM sign_in_attempts WHERE window_start > $1', [begun]);
      const begun = new Date(world.clock.now().getTime() - 60_000);
      expect(await attempts()).toEqual([]);
      const signingIn = signIn(browser, page);
      await expect.poll(attempts, { interval: 5 }).not.toEqual([]);
      await change();
      expect(passwords.queued).toBeGreaterThan(0);
      const answer = await signingIn;
      await Promise.all(queue);
      expect(passwords.hashes - before).toBe(61);
      expect(answer.status).toBe(400);
      expect([...browser.cookies.keys()].join()).not.toContain('_session_');
      expect((await browser.send('GET', '/account')).location).toBe('/login');
      const standing = await query(
        world,
        `SELECT 1 FROM sign_ins i JOIN users u ON u.id = i.user_id
         WHERE u.username = 'alice' AND i.user_epoch = u.epoch AND i.ended_at IS NULL`,
      );
      expect(standing).toEqual([]);
    }
  });
});
