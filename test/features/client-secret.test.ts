import * as oidc from 'openid-client';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { rotateSecret } from '../../src/operator/clients.ts';
import { setClientDisabled } from '../../src/postgres/clients.pg.ts';
import { post } from '../support/browser.ts';
import { startWorld, type World } from '../support/world.ts';
import { relyingParty } from './relying-party.ts';

describe('client authentication with a secret (RFC 6749 §2.3.1)', () => {
  let world: World;
  beforeAll(async () => {
    world = await startWorld();
  });
  afterAll(() => world.close());

  const METADATA = { grant_types: ['client_credentials'], scope: 'photos.read' };
  const ask = (client: { id: string; secret: string }) =>
    post(`${world.issuer}/token`, { grant_type: 'client_credentials' }, { basic: client });
  const withHeader = (authorization: string) =>
    post(
      `${world.issuer}/token`,
      { grant_type: 'client_credentials', scope: 'photos.read' },
      { headers: { authorization } },
    );
  const basic = (text: string) => `Basic ${Buffer.from(text).toString('base64')}`;

  it.each(['1:colon', '100%', '2+2=4', 'a&b=c', "it's(a)*test!", '~tilde~', 'per%20cent', '?/#[]@', 'plain-id_1.0'])(
    'works for the client id %s, encoded as the specification says',
    async (client_id) => {
      const client = await world.client({ ...METADATA, client_id });
      expect(client.id).toBe(client_id);
      const party = await relyingParty(world, client, { auth: oidc.ClientSecretBasic(client.secret) });
      await expect(oidc.clientCredentialsGrant(party)).resolves.toMatchObject({ scope: 'photos.read' });
      expect((await ask(client)).status).toBe(200);
    },
  );

  it('client_secret_post works for a client that registered it, and the other way does not', async () => {
    const method = { token_endpoint_auth_method: 'client_secret_post' };
    const client = await world.client({ ...METADATA, ...method, client_id: '3:%+&post' });
    const party = await relyingParty(world, client, { auth: oidc.ClientSecretPost(client.secret) });
    await expect(oidc.clientCredentialsGrant(party)).resolves.toMatchObject({ scope: 'photos.read' });
    expect((await ask(client)).json.error).toBe('invalid_client');
    const fields = { grant_type: 'client_credentials', client_id: world.batch.id, client_secret: world.batch.secret };
    const wrongMethod = await post(`${world.issuer}/token`, fields);
    expect([wrongMethod.status, wrongMethod.json.error]).toEqual([401, 'invalid_client']);
  });

  it('takes the scheme’s name in any case, and the id once more in the body if it is the same', async () => {
    const { id, secret } = world.batch;
    expect((await withHeader(basic(`${id}:${secret}`).replace('Basic', 'bAsIc'))).status).toBe(200);
    const named = (client_id: string) =>
      post(
        `${world.issuer}/token`,
        { grant_type: 'client_credentials', scope: 'photos.read', client_id },
        { basic: world.batch },
      );
    expect((await named(id)).status).toBe(200);
    expect((await named(world.web.id)).json.error).toBe('invalid_client');
  });

  it('answers alike whether the client is unknown, its secret wrong or its method another one', async () => {
    const answers = await Promise.all([
      ask({ id: 'nobody', secret: 'x' }),
      ask({ id: world.batch.id, secret: 'x' }),
      ask({ id: world.batch.id, secret: world.web.secret }),
      ask({ id: world.batch.id, secret: `${world.batch.secret}x` }),
      ask({ id: world.spa.id, secret: 'x' }),
      withHeader(basic(`${world.batch.id}`)),
      withHeader('Basic !!!'),
      withHeader('Bearer x'),
    ]);
    const [first] = answers;
    expect(first?.status).toBe(401);
    expect(first?.headers.get('www-authenticate')).toBe(`Basic realm="${world.issuer}", charset="UTF-8"`);
    for (const { status, text, headers } of answers) {
      expect([status, text]).toEqual([first?.status, first?.text]);
      expect(headers.get('www-authenticate')).toBe(first?.headers.get('www-authenticate'));
    }
  });

  it('is done by one method only', async () => {
    const { id, secret } = world.batch;
    const both = await post(
      `${world.issuer}/token`,
      { grant_type: 'client_credentials', client_id: id, client_secret: secret },
      { basic: world.batch },
    );
    expect([both.status, both.json.error]).toEqual([400, 'invalid_request']);
  });

  it('takes every secret of a client until its end, so that one is changed without an outage', async () => {
    const client = await world.client(METADATA);
    const before = client.secret;
    const { value, othersEnd } = await rotateSecret(world.running.database.sql, client.id, 3600, world.context);
    expect(othersEnd.getTime() - world.clock.now().getTime()).toBeGreaterThan(3590_000);
    const works = async (secret: string) => (await ask({ id: client.id, secret })).status === 200;
    // A running server reads the change within a second.
    await expect.poll(() => works(value), { timeout: 5000 }).toBe(true);
    expect(await works(before)).toBe(true);
    world.clock.advance(3601);
    expect(await works(before)).toBe(false);
    expect(await works(value)).toBe(true);

    const { value: last } = await rotateSecret(world.running.database.sql, client.id, 0, world.context);
    await expect.poll(() => works(last), { timeout: 5000 }).toBe(true);
    expect([await works(value), await works(before)]).toEqual([false, false]);
  });

  it('is over when the client is disabled', async () => {
    const client = await world.client(METADATA);
    expect((await ask(client)).status).toBe(200);
    await setClientDisabled(world.running.database.sql, client.id, true, world.clock.now());
    await expect.poll(async () => (await ask(client)).json.error, { timeout: 5000 }).toBe('invalid_client');
    await setClientDisabled(world.running.database.sql, client.id, false, world.clock.now());
    await expect.poll(async () => (await ask(client)).status, { timeout: 5000 }).toBe(200);
  });
});
