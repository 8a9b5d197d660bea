/**
 * The attacker has a client of their own and somebody else's token, and wants to end it, or to learn from the answer
 * what it is (RFC 7009 §2.1). Stopped by: a token is ended only for the client it was issued to; the refusal changes
 * nothing and says nothing about it. And what its owner ends is over everywhere at once.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { auditOf, query } from '../support/attack-aftermath.ts';
import { ALIVE, DEAD, type Issued, refreshed, worth } from '../support/attack-tokens.ts';
import { formTo, post } from '../support/browser.ts';
import { getCode, PHOTOS, redeem, refresh, STORAGE, startWorld, type World } from '../support/world.ts';

describe('revocation', () => {
  let world: World;
  beforeAll(async () => {
    world = await startWorld();
  });
  afterAll(() => world.close());

  const issue = async (resource = PHOTOS) => {
    const flow = await getCode(world, { scope: 'openid photos.read storage.read' });
    const issued = (await redeem(world, flow, 'web', { resource })).json as unknown as Issued;
    return { ...issued, browser: flow.browser };
  };
  const revoke = (token: string, by: { id: string; secret: string } | 'spa') =>
    by === 'spa'
      ? post(`${world.issuer}/revoke`, { token, client_id: 'spa' })
      : post(`${world.issuer}/revoke`, { token }, { basic: by });

  it.each(['spa', 'batch', 'photosApi'] as const)(
    'by another client (%s) is refused without effect or hint',
    async (name) => {
      const thief = name === 'spa' ? 'spa' : world[name];
      const jwt = await issue();
      const opaque = await issue(STORAGE);
      const refusals = [];
      for (const token of [jwt.access_token, jwt.refresh_token, opaque.access_token, opaque.refresh_token]) {
        const { status, text } = await revoke(token, thief);
        refusals.push([status, text]);
      }
      const said = JSON.stringify({
        error: 'unauthorized_client',
        error_description: 'This client may not revoke this token.',
      });
      expect(refusals).toEqual(refusals.map(() => [400, said]));
      expect(await worth(world, jwt.access_token)).toEqual(ALIVE);
      expect(await worth(world, opaque.access_token, world.storageApi)).toEqual(ALIVE);
      expect((await refresh(world, jwt.refresh_token, 'web', { resource: PHOTOS })).status).toBe(200);
      expect(await query(world, 'SELECT id FROM revocation_marks')).toEqual([]);
    },
  );

  it('by another client is one event in the audit trail', async () => {
    const { refresh_token } = await issue();
    const trail = await auditOf(world, 'unauthorized_client', () => revoke(refresh_token, world.batch));
    expect(trail.map(({ event, client_id, times }) => [event, client_id, times])).toEqual([
      ['unauthorized_client', 'batch', 1],
    ]);
  });

  it('needs its client’s proof', async () => {
    const { refresh_token, access_token } = await issue();
    const claimed = await post(`${world.issuer}/revoke`, { token: refresh_token, client_id: 'web' });
    expect([claimed.status, claimed.json.error]).toEqual([401, 'invalid_client']);
    expect(await worth(world, access_token)).toEqual(ALIVE);
  });

  it.each([
    ['JWT', PHOTOS, 'photosApi'],
    ['opaque', STORAGE, 'storageApi'],
  ] as const)('of a refresh token ends the access tokens of its grant (%s)', async (_form, resource, api) => {
    const issued = await issue(resource);
    const later = (await refresh(world, issued.refresh_token, 'web', { resource })).json as unknown as Issued;
    expect((await revoke(issued.refresh_token, world.web)).status).toBe(200);
    for (const token of [issued.access_token, later.access_token])
      expect(await worth(world, token, world[api])).toEqual(DEAD);
    expect(await refreshed(world, issued.refresh_token)).toBe('invalid_grant');
  });

  it('of a rotated refresh token ends its successors too', async () => {
    const first = (await redeem(world, await getCode(world, { client: 'spa' }), 'spa')).json as unknown as Issued;
    const second = (await refresh(world, first.refresh_token, 'spa')).json as unknown as Issued;
    await revoke(first.refresh_token, 'spa');
    expect(await worth(world, second.access_token)).toEqual(DEAD);
    expect(await refreshed(world, second.refresh_token, 'spa')).toBe('invalid_grant');
  });

  it.each([
    ['JWT', PHOTOS, 'photosApi'],
    ['opaque', STORAGE, 'storageApi'],
  ] as const)('of an access token ends that one and no other (%s)', async (_form, resource, api) => {
    const issued = await issue(resource);
    const later = (await refresh(world, issued.refresh_token, 'web', { resource })).json as unknown as Issued;
    expect((await revoke(issued.access_token, world.web)).status).toBe(200);
    expect(await worth(world, issued.access_token, world[api])).toEqual(DEAD);
    expect(await worth(world, later.access_token, world[api])).toEqual(ALIVE);
    // Again, and of nothing: no oracle.
    expect((await revoke(issued.access_token, world.web)).status).toBe(200);
    expect((await revoke('unknown', world.web)).status).toBe(200);
  });

  it('on the account page ends everything within that request', async () => {
    const jwt = await issue();
    const opaque = await issue(STORAGE);
    const flow = await getCode(world, { browser: opaque.browser });
    const account = await opaque.browser.visit('/account');
    const after = await opaque.browser.submit(formTo(account, '/account/access'), { client_id: 'web' });
    expect(after.status).toBe(200);
    expect(await worth(world, jwt.access_token)).toEqual(DEAD);
    expect(await worth(world, opaque.access_token, world.storageApi)).toEqual(DEAD);
    expect(await refreshed(world, jwt.refresh_token)).toBe('invalid_grant');
    expect((await redeem(world, flow)).json.error).toBe('invalid_grant');
    // Nothing of it comes back when she allows the client again.
    await getCode(world, { browser: opaque.browser });
    expect(await worth(world, jwt.access_token)).toEqual(DEAD);
    expect(await refreshed(world, jwt.refresh_token)).toBe('invalid_grant');
  });

  it('on the account page needs that page’s own form', async () => {
    const issued = await issue();
    const { action, fields } = formTo(await issued.browser.visit('/account'), '/account/access');
    const bob = (await getCode(world, { parameters: {} })).browser;
    const attempts = [
      issued.browser.send('POST', action, { client_id: 'web' }),
      issued.browser.send('POST', action, { ...fields, csrf: 'x' }),
      issued.browser.send('POST', action, fields, { origin: 'https://evil.example', 'sec-fetch-site': 'cross-site' }),
      issued.browser.send('POST', action, fields, { origin: 'null', 'sec-fetch-site': 'cross-site' }),
      bob.send('POST', action, fields),
    ];
    for (const attempt of attempts) expect((await attempt).status).toBe(403);
    expect(await worth(world, issued.access_token)).toEqual(ALIVE);
  });
});
