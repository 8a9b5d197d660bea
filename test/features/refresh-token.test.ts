import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { post } from '../support/browser.ts';
import { getCode, introspect, PHOTOS, redeem, refresh, STORAGE, startWorld, type World } from '../support/world.ts';

const DAY = 86_400;

interface Issued {
  readonly access_token: string;
  readonly refresh_token: string;
}

describe('refresh tokens (RFC 6749 §6, OAuth 2.1 §4.3)', () => {
  let world: World;
  beforeAll(async () => {
    world = await startWorld();
  });
  afterAll(() => world.close());

  async function issued(
    client: 'web' | 'spa',
    scope = 'photos.read',
    extra: Record<string, string> = {},
  ): Promise<Issued> {
    return (await redeem(world, await getCode(world, { client, scope }), client, extra)).json as unknown as Issued;
  }
  const active = async (token: string, as = world.photosApi) => (await introspect(world, token, as)).active;

  describe('of a confidential client', () => {
    it('stay: the same one works again and again, each time for a new access token', async () => {
      const { refresh_token } = await issued('web');
      const tokens = new Set<unknown>();
      for (let times = 0; times < 3; times += 1) {
        const { status, json } = await refresh(world, refresh_token);
        expect(status).toBe(200);
        expect(json).not.toHaveProperty('refresh_token');
        tokens.add(json.access_token);
      }
      expect(tokens.size).toBe(3);
    });

    it('end unused after two weeks, and last as long as they are used, up to three months', async () => {
      const idle = await issued('web');
      const used = await issued('web');
      for (let day = 0; day < 84; day += 12) {
        world.clock.advance(12 * DAY);
        expect((await refresh(world, used.refresh_token)).status, `day ${day + 12}`).toBe(200);
      }
      expect((await refresh(world, idle.refresh_token)).json.error).toBe('invalid_grant');
      world.clock.advance(6 * DAY);
      expect((await refresh(world, used.refresh_token)).json.error).toBe('invalid_grant');
    });
  });

  describe('of a public client', () => {
    it('are replaced at each use, and the chain goes on', async () => {
      let { refresh_token } = await issued('spa');
      const seen = new Set([refresh_token]);
      for (let times = 0; times < 5; times += 1) {
        const { json } = await refresh(world, refresh_token, 'spa');
        refresh_token = json.refresh_token as string;
        seen.add(refresh_token);
      }
      expect(seen.size).toBe(6);
    });

    it('give one successor to a retry, to a second tab, to fifty at once: nobody is logged out', async () => {
      const { refresh_token } = await issued('spa');
      const answers = await Promise.all(Array.from({ length: 50 }, () => refresh(world, refresh_token, 'spa')));
      expect(new Set(answers.map(({ status }) => status))).toEqual(new Set([200]));
      const successors = new Set(answers.map(({ json }) => json.refresh_token));
      expect(successors.size).toBe(1);
      expect(new Set(answers.map(({ json }) => json.access_token)).size).toBe(50);
      const [successor] = successors;
      expect((await refresh(world, String(successor), 'spa')).status).toBe(200);
      // Even now the first one gives the same successor, which has been used itself.
      expect((await refresh(world, refresh_token, 'spa')).json.refresh_token).toBe(successor);
      for (const { json } of answers.slice(0, 3)) expect(await active(String(json.access_token))).toBe(true);
    });

    it('used again after the window are taken for stolen: everything of the grant ends', async () => {
      const first = await issued('spa');
      const second = (await refresh(world, first.refresh_token, 'spa')).json as unknown as Issued;
      world.clock.advance(11);
      expect((await refresh(world, first.refresh_token, 'spa')).json.error).toBe('invalid_grant');
      expect((await refresh(world, second.refresh_token, 'spa')).json.error).toBe('invalid_grant');
      expect(await active(second.access_token)).toBe(false);
      expect(await active(first.access_token)).toBe(false);
    });

    it('keep the end of their grant however often they are replaced', async () => {
      let { refresh_token } = await issued('spa');
      for (let day = 0; day < 84; day += 12) {
        world.clock.advance(12 * DAY);
        const { status, json } = await refresh(world, refresh_token, 'spa');
        expect(status, `day ${day + 12}`).toBe(200);
        refresh_token = json.refresh_token as string;
      }
      world.clock.advance(6 * DAY);
      expect((await refresh(world, refresh_token, 'spa')).json.error).toBe('invalid_grant');
    });
  });

  describe('narrowing', () => {
    const BOTH = 'openid photos.read photos.write storage.read';

    it('gives less scope when less is asked for, and all of it again the next time', async () => {
      const { refresh_token } = await issued('web', 'openid photos.read photos.write');
      const narrow = await refresh(world, refresh_token, 'web', { scope: 'photos.read' });
      expect(narrow.json).toMatchObject({ scope: 'photos.read' });
      expect(narrow.json).not.toHaveProperty('id_token');
      const whole = await refresh(world, refresh_token);
      expect(whole.json.scope).toBe('openid photos.read photos.write');
      expect(whole.json.id_token).toEqual(expect.any(String));
    });

    it('a replaced token keeps the whole scope of the one before (RFC 6749 §6)', async () => {
      const { refresh_token } = await issued('spa', 'photos.read photos.write');
      const narrow = await refresh(world, refresh_token, 'spa', { scope: 'photos.read' });
      expect(narrow.json.scope).toBe('photos.read');
      const whole = await refresh(world, String(narrow.json.refresh_token), 'spa');
      expect(whole.json.scope).toBe('photos.read photos.write');
    });

    it('gives no more than was granted', async () => {
      const { refresh_token } = await issued('web', 'photos.read');
      for (const [parameters, error] of [
        [{ scope: 'photos.read photos.write' }, 'invalid_scope'],
        [{ scope: 'openid' }, 'invalid_scope'],
        [{ resource: STORAGE }, 'invalid_target'],
      ] as const) {
        expect((await refresh(world, refresh_token, 'web', parameters)).json.error).toBe(error);
      }
      expect((await refresh(world, refresh_token)).status).toBe(200);
    });

    it('a refusal uses nothing up: the token of a public client is still there', async () => {
      const { refresh_token } = await issued('spa', BOTH, { resource: PHOTOS });
      expect((await refresh(world, refresh_token, 'spa')).json.error).toBe('invalid_target');
      world.clock.advance(60);
      expect((await refresh(world, refresh_token, 'spa', { resource: STORAGE })).status).toBe(200);
    });

    it('one grant, two APIs: a token for each, in the form each wants (RFC 8707)', async () => {
      const { refresh_token } = await issued('web', BOTH, { resource: PHOTOS });
      const photos = (await refresh(world, refresh_token, 'web', { resource: PHOTOS })).json;
      const storage = (await refresh(world, refresh_token, 'web', { resource: STORAGE })).json;
      expect(photos).toMatchObject({
        access_token: expect.stringMatching(/^ey/),
        scope: 'openid photos.read photos.write',
      });
      expect(storage).toMatchObject({ access_token: expect.stringMatching(/^gate_at_/), scope: 'openid storage.read' });
      expect(await active(String(photos.access_token), world.photosApi)).toBe(true);
      expect(await active(String(photos.access_token), world.storageApi)).toBe(false);
      expect(await active(String(storage.access_token), world.storageApi)).toBe(true);
      expect(await active(String(storage.access_token), world.photosApi)).toBe(false);
    });
  });

  it('are not given to a client without that grant', async () => {
    const client = await world.client({ redirect_uris: ['https://web.example/callback'], scope: 'photos.read' });
    const flow = await getCode({ ...world, web: client }, { scope: 'photos.read' });
    const { json } = await redeem({ ...world, web: client }, flow);
    expect(json).toHaveProperty('access_token');
    expect(json).not.toHaveProperty('refresh_token');
  });

  it('of a person who signed out go on for plain OAuth and offline access, and end for openid alone', async () => {
    const flows = [];
    for (const scope of ['openid photos.read', 'openid offline_access photos.read', 'photos.read']) {
      const flow = await getCode(world, { scope });
      flows.push({ scope, browser: flow.browser, issued: (await redeem(world, flow)).json as unknown as Issued });
    }
    const outcome: Record<string, number> = {};
    for (const { scope, browser, issued: tokens } of flows) {
      const page = await browser.visit('/logout');
      const csrf = /name="csrf" value="([^"]+)"/.exec(page.body)?.[1] ?? '';
      await browser.send('POST', '/logout', { csrf });
      outcome[scope] = (await refresh(world, tokens.refresh_token)).status;
    }
    expect(outcome).toEqual({
      'openid photos.read': 400,
      'openid offline_access photos.read': 200,
      'photos.read': 200,
    });
  });

  it('belong to their client: another one gets invalid_grant, and the token lives on', async () => {
    const { refresh_token } = await issued('web');
    const stolen = await post(`${world.issuer}/token`, {
      grant_type: 'refresh_token',
      refresh_token,
      client_id: world.spa.id,
    });
    expect(stolen.json.error).toBe('invalid_grant');
    expect((await refresh(world, refresh_token)).status).toBe(200);
  });
});
