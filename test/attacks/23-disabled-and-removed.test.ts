/**
 * The attacker still holds what was given out before somebody was disabled, a password changed, a client switched off or
 * a scope taken away: tokens, a code, a session, a half-finished request. Stopped by: nothing is copied that could go
 * stale; every use asks the rows of user, client, consent and sign-in, and the catalogue, anew.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { rulesFor } from '../../src/cli/workplace.ts';
import { changeClient } from '../../src/operator/clients.ts';
import { changeResource } from '../../src/operator/resources.ts';
import { deleteClient, findClientRecord, setClientDisabled } from '../../src/postgres/clients.pg.ts';
import type { Sql } from '../../src/postgres/database.ts';
import { setPassword, setUserDisabled } from '../../src/postgres/people.pg.ts';
import { deleteResource, findResource } from '../../src/postgres/resources.pg.ts';
import { endSession } from '../../src/postgres/sessions.pg.ts';
import { oauth21 } from '../../src/protocol/profile.ts';
import { caughtUp, query, tally } from '../support/attack-aftermath.ts';
import { ALIVE, DEAD, type Issued, refreshed, worth } from '../support/attack-tokens.ts';
import { authorizePath, formTo, pkce, responseOf, signIn } from '../support/browser.ts';
import {
  getCode,
  introspect,
  PHOTOS,
  redeem,
  refresh,
  STORAGE,
  startWorld,
  WEB_REDIRECT,
  type World,
} from '../support/world.ts';

const SCOPE = 'openid photos.read storage.read';

describe('what was given out before', () => {
  let world: World;
  let sql: Sql;
  beforeAll(async () => {
    world = await startWorld();
    sql = world.running.database.sql;
  });
  afterAll(() => world.close());

  /** Everything alice's browser and the web client can hold. */
  async function hold(scope = SCOPE) {
    const first = await getCode(world, { scope });
    const { browser } = first;
    const jwt = (await redeem(world, first, 'web', { resource: PHOTOS })).json as unknown as Issued;
    const again = await getCode(world, { scope, browser });
    const opaque = (await redeem(world, again, 'web', { resource: STORAGE })).json as unknown as Issued;
    const code = await getCode(world, { scope, browser });
    const page = await browser.visit(
      authorizePath({
        client_id: 'web',
        redirect_uri: WEB_REDIRECT,
        scope,
        prompt: 'consent',
        code_challenge: pkce().challenge,
      }),
    );
    expect(page.url).toContain('/consent');
    return { browser, jwt, opaque, code, page };
  }
  type Held = Awaited<ReturnType<typeof hold>>;

  async function expectTokensAlive({ jwt, opaque }: Held): Promise<void> {
    expect(await worth(world, jwt.access_token)).toEqual(ALIVE);
    expect(await worth(world, opaque.access_token, world.storageApi)).toEqual(ALIVE);
  }

  async function expectTokensDead({ jwt, opaque, code }: Held, error: string): Promise<void> {
    const before = await tally(world);
    expect(await worth(world, jwt.access_token)).toEqual(DEAD);
    expect(await worth(world, opaque.access_token, world.storageApi)).toEqual(DEAD);
    expect(await refreshed(world, jwt.refresh_token)).toBe(error);
    expect((await redeem(world, code, 'web', { resource: PHOTOS })).json.error).toBe(error);
    expect(await tally(world)).toEqual(before);
  }

  async function expectNobodySignedIn({ browser, page }: Held): Promise<void> {
    const before = await tally(world);
    expect((await browser.send('GET', '/account')).location).toBe('/login');
    const late = await browser.send('POST', '/consent', { ...formTo(page, '/consent').fields, decision: 'allow' });
    expect(late.status).toBe(403);
    const silent = await browser.visit(
      authorizePath({
        client_id: 'web',
        redirect_uri: WEB_REDIRECT,
        scope: 'openid',
        prompt: 'none',
        code_challenge: pkce().challenge,
      }),
    );
    expect(responseOf(silent).get('error')).toBe('login_required');
    expect(await tally(world)).toEqual(before);
  }

  it('to a user who is disabled now is dead at once, and stays so when the user is enabled again', async () => {
    const held = await hold();
    await expectTokensAlive(held);
    await setUserDisabled(sql, world.alice, true, world.clock.now());
    await expectTokensDead(held, 'invalid_grant');
    await expectNobodySignedIn(held);
    await setUserDisabled(sql, world.alice, false, world.clock.now());
    await expectTokensDead(held, 'invalid_grant');
    await expectNobodySignedIn(held);
  });

  it('under an old password is dead at once', async () => {
    const held = await hold();
    await setPassword(sql, world.alice, await world.running.passwords.hash('wonderland'), world.clock.now());
    await expectTokensDead(held, 'invalid_grant');
    await expectNobodySignedIn(held);
  });

  it('to a session that an operator ended is dead at once', async () => {
    const held = await hold();
    const [session] = await query<{ session_id: string }>(
      world,
      'SELECT session_id FROM sign_ins ORDER BY id DESC LIMIT 1',
    );
    await endSession(sql, session?.session_id ?? '', world.clock.now());
    await expectTokensDead(held, 'invalid_grant');
    await expectNobodySignedIn(held);
  });

  it('to a session that signed out is dead, unless offline_access was consented', async () => {
    const bound = await hold();
    const offline = await getCode(world, { scope: `${SCOPE} offline_access`, browser: bound.browser });
    const kept = (await redeem(world, offline, 'web', { resource: PHOTOS })).json as unknown as Issued;
    const late = await getCode(world, { scope: `${SCOPE} offline_access`, browser: bound.browser });
    await bound.browser.submit(formTo(await bound.browser.visit('/logout'), '/logout'));
    await expectTokensDead(bound, 'invalid_grant');
    await expectNobodySignedIn(bound);
    // What was held is kept; a code is no token yet, and tells who signed in.
    expect((await redeem(world, late, 'web', { resource: PHOTOS })).json.error).toBe('invalid_grant');
    expect(await worth(world, kept.access_token)).toEqual(ALIVE);
    expect((await refresh(world, kept.refresh_token, 'web', { resource: PHOTOS })).status).toBe(200);
  });

  it('to a session that ran out stays dead when the same person signs in again', async () => {
    const held = await hold();
    world.clock.advance(13 * 3600);
    expect(await refreshed(world, held.jwt.refresh_token)).toBe('invalid_grant');
    await signIn(held.browser, await held.browser.visit('/login'));
    expect((await held.browser.visit('/account')).url).toContain('/account');
    expect(await refreshed(world, held.jwt.refresh_token)).toBe('invalid_grant');
  });

  it('to a client that is disabled now is dead on every path', async () => {
    const held = await hold();
    await setClientDisabled(sql, 'web', true, world.clock.now());
    await caughtUp();
    await expectTokensDead(held, 'invalid_client');
    const { browser, page } = held;
    expect((await browser.send('GET', `/authorize?client_id=web&redirect_uri=${WEB_REDIRECT}`)).status).toBe(400);
    const late = await browser.send('POST', '/consent', { ...formTo(page, '/consent').fields, decision: 'allow' });
    expect(late.status).toBe(400);
    expect((await browser.visit('/account')).body).not.toContain('Remove access<span class="unseen"> of <bdi>Web');
    await setClientDisabled(sql, 'web', false, world.clock.now());
    await caughtUp();
  });

  it('an API that is disabled now learns nothing more', async () => {
    const { jwt } = await hold();
    await setClientDisabled(sql, 'photos-api', true, world.clock.now());
    await caughtUp();
    expect(await introspect(world, jwt.access_token)).toMatchObject({ error: 'invalid_client' });
    await setClientDisabled(sql, 'photos-api', false, world.clock.now());
    await caughtUp();
  });

  describe('of a scope that is gone now', () => {
    const remove = async (changes: object) => {
      const record = await findClientRecord(sql, 'web');
      if (!record) throw new Error('no client');
      const rules = rulesFor(sql, oauth21, world.running.passwords, world.context);
      await changeClient(sql, record, { ...changes }, rules, world.clock.now());
      await caughtUp();
      return async () => {
        await changeClient(sql, { ...record, metadata: {} }, record.metadata, rules, world.clock.now());
        await caughtUp();
      };
    };

    it('is told and given no more, when the client may no longer ask for it', async () => {
      const held = await hold('openid profile photos.read photos.write storage.read');
      expect(await introspect(world, held.jwt.access_token)).toMatchObject({
        scope: 'openid profile photos.read photos.write',
      });
      const restore = await remove({ scope: 'openid photos.read storage.read' });
      try {
        expect(await introspect(world, held.jwt.access_token)).toMatchObject({ scope: 'openid photos.read' });
        const userinfo = await fetch(`${world.issuer}/userinfo`, {
          headers: { authorization: `Bearer ${held.jwt.access_token}` },
        });
        expect(await userinfo.json()).toEqual({ sub: world.alice });
        const next = await refresh(world, held.jwt.refresh_token, 'web', { resource: PHOTOS });
        expect(next.json.scope).toBe('openid photos.read');
        const asked = await refresh(world, held.jwt.refresh_token, 'web', { scope: 'photos.write' });
        expect(asked.json.error).toBe('invalid_scope');
        const redeemed = await redeem(world, held.code, 'web', { resource: PHOTOS });
        expect(redeemed.json.scope).toBe('openid photos.read');
      } finally {
        await restore();
      }
    });

    it('stands for nothing when none of its scope is left', async () => {
      const held = await hold('photos.read');
      const restore = await remove({ scope: 'openid storage.read' });
      try {
        const { access_token, refresh_token } = held.jwt;
        expect((await worth(world, access_token))[0]).toBe('inactive');
        expect((await worth(world, access_token, world.web))[0]).toBe('inactive');
        expect(await refreshed(world, refresh_token)).toBe('invalid_grant');
        expect((await redeem(world, held.code)).json.error).toBe('invalid_grant');
      } finally {
        await restore();
      }
    });

    it('goes with the API’s scope, and with the API', async () => {
      const held = await hold('openid photos.read photos.write storage.read');
      const photos = await findResource(sql, PHOTOS);
      if (!photos) throw new Error('no photos API');
      const read = { 'photos.read': 'See your photos' };
      await changeResource(sql, photos, { scopes: read }, oauth21, world.clock.now());
      await caughtUp();
      expect(await introspect(world, held.jwt.access_token)).toMatchObject({ scope: 'openid photos.read' });
      const next = await refresh(world, held.jwt.refresh_token, 'web', { resource: PHOTOS });
      expect(next.json.scope).toBe('openid photos.read');

      await deleteResource(sql, PHOTOS);
      await caughtUp();
      expect(await worth(world, held.jwt.access_token)).toEqual(['inactive', 'userinfo 200']);
      const gone = await refresh(world, held.jwt.refresh_token, 'web', { resource: PHOTOS });
      expect(gone.json.error).toBe('invalid_target');
      await world.resource({ ...photos });
      await caughtUp();
    });
  });

  // The last one: a deleted client does not come back.
  it('to a client that is deleted now is dead for ever, and its id is given to nobody', async () => {
    const held = await hold();
    await deleteClient(sql, 'web', world.clock.now());
    await caughtUp();
    await expectTokensDead(held, 'invalid_client');
    await expect(world.client({ client_id: 'web', redirect_uris: [WEB_REDIRECT] })).rejects.toThrow('taken');
  });
});
