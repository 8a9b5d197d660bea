/**
 * FAPI 2.0 attacker A3a: all that A1 has, and reads authorization requests of others: out of a browser's history, a proxy's
 * log, an app that claims the link. They know the address as soon as it is opened.
 *
 * Stopped by: the address holds a reference and no more; the reference is good for one answer, for its client, for 90 seconds;
 * what it leads to is a code for whoever signs in, which only the client can redeem, within a minute. The residual risk (SP
 * §6.4) is that the attacker is quicker than the victim and leads the victim into the attacker's own account: shown below,
 * with what closes it.
 */
import * as oauth from 'oauth4webapi';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { tally } from '../../support/attack-aftermath.ts';
import { expectErrorPage } from '../../support/attack-pages.ts';
import { authorizePath, pkce, post, responseOf, TestBrowser } from '../../support/browser.ts';
import { pushedPath } from '../../support/dpop-world.ts';
import {
  askTokens,
  BOB,
  claimsOf,
  codeFor,
  type FapiWorld,
  goThrough,
  pushAs,
  redeemAs,
  startFapiWorld,
  tokensFor,
} from '../../support/fapi-world.ts';

describe('A3a, who reads authorization requests', () => {
  let world: FapiWorld;
  beforeAll(async () => {
    world = await startFapiWorld();
  });
  afterAll(() => world.close());

  it('A3a-1 AZ: the address an honest client (oauth4webapi) sends the browser to tells nothing, and no log does', async () => {
    const client: oauth.Client = { client_id: 'app' };
    const insecure = { [oauth.allowInsecureRequests]: true };
    const issuer = new URL(world.issuer);
    const as = await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, insecure));
    const auth = oauth.PrivateKeyJwt({ key: world.app.key.privateKey, kid: 'app-key' });
    const secret = { state: 'a-state-to-look-for', nonce: 'a-nonce-to-look-for', login_hint: 'alice-to-look-for' };
    const { challenge } = pkce();
    const { request_uri } = await oauth.processPushedAuthorizationResponse(
      as,
      client,
      await oauth.pushedAuthorizationRequest(
        as,
        client,
        auth,
        {
          response_type: 'code',
          redirect_uri: world.app.redirectUri,
          scope: 'openid',
          code_challenge: challenge,
          code_challenge_method: 'S256',
          ...secret,
        },
        insecure,
      ),
    );
    const browser = new TestBrowser(world);
    const addresses = [];
    for (let next: string | undefined = pushedPath(request_uri, 'app'); next !== undefined; ) {
      addresses.push(next);
      next = (await browser.send('GET', next)).location;
    }
    expect(addresses).toHaveLength(2);
    expect([...new URL(addresses[0] ?? '', world.issuer).searchParams.keys()].sort()).toEqual([
      'client_id',
      'request_uri',
    ]);
    expect([...new URL(addresses[1] ?? '', world.issuer).searchParams.keys()]).toEqual(['pending']);
    const read = [...addresses, ...world.log].join('\n');
    expect(read).toContain('/authorize');
    for (const value of [...Object.values(secret), challenge, world.app.redirectUri]) expect(read).not.toContain(value);
    expect(world.log.join('\n')).not.toContain(request_uri.slice(-43));
  });

  it('A3a-2 AZ: once it is answered, or its time is over, the address opens nothing', async () => {
    const { uri, browser } = await codeFor(world, world.app);
    const expired = await pushAs(world, world.app);
    world.clock.advance(91);
    const before = await tally(world);
    for (const reader of [new TestBrowser(world), browser])
      for (const path of [pushedPath(uri, 'app'), pushedPath(expired.uri, 'app')])
        expectErrorPage(await reader.visit(path), 400, 'invalid_request_uri');
    expect(await tally(world)).toEqual(before);
  });

  it('A3a-2 AZ: before that the attacker gets a code for themselves, of which they can make nothing', async () => {
    const { uri, verifier } = await pushAs(world, world.app);
    const page = await goThrough(new TestBrowser(world), pushedPath(uri, 'app'), BOB);
    const code = responseOf(page).get('code') ?? '';
    const before = await tally(world);
    const asEvil = await redeemAs(world, world.evil, { code, verifier });
    expect([asEvil.status, asEvil.json.error]).toEqual([400, 'invalid_grant']);
    const keyless = await post(`${world.issuer}/token`, { grant_type: 'authorization_code', code, client_id: 'app' });
    expect([keyless.status, keyless.json.error]).toEqual([401, 'invalid_client']);
    expect(await tally(world)).toEqual(before);
  });

  describe('A3a-3 SI: the attacker is quicker, and gives the victim’s browser the attacker’s answer', () => {
    it('residual risk (SP §6.4): the client cannot tell, and works as the attacker', async () => {
      const { uri, verifier } = await pushAs(world, world.app);
      const theirs = responseOf(await goThrough(new TestBrowser(world), pushedPath(uri, 'app'), BOB));
      const { status, json } = await redeemAs(world, world.app, { code: theirs.get('code') ?? '', verifier });
      expect([status, claimsOf(String(json.id_token)).sub]).toEqual([200, world.bob]);
    });

    it('but the victim’s own answer never comes then: there is one to a request', async () => {
      const { uri } = await pushAs(world, world.app);
      const victim = (await codeFor(world, world.app)).browser;
      await goThrough(new TestBrowser(world), pushedPath(uri, 'app'), BOB);
      const before = await tally(world);
      expectErrorPage(await victim.visit(pushedPath(uri, 'app')), 400, 'invalid_request_uri');
      expect(await tally(world)).toEqual(before);
    });

    it('and a code that is given away later than a minute after is over', async () => {
      const { uri, verifier } = await pushAs(world, world.app);
      const theirs = responseOf(await goThrough(new TestBrowser(world), pushedPath(uri, 'app'), BOB));
      world.clock.advance(61);
      const { status, json } = await redeemAs(world, world.app, { code: theirs.get('code') ?? '', verifier });
      expect([status, json.error]).toEqual([400, 'invalid_grant']);
    });

    it('closed by a client that says whom it means (id_token_hint)', async () => {
      const { id_token } = await tokensFor(world, world.app);
      const { uri } = await pushAs(world, world.app, { id_token_hint: id_token });
      const theirs = responseOf(await goThrough(new TestBrowser(world), pushedPath(uri, 'app'), BOB));
      expect([theirs.get('error'), theirs.has('code')]).toEqual(['login_required', false]);
    });
  });

  it('A3a-4 AZ: where requests need not be pushed, the challenge in the address is not the verifier', async () => {
    const open = await startFapiWorld('oauth21');
    try {
      const { verifier, challenge } = pkce();
      const asked = {
        client_id: 'app',
        redirect_uri: open.app.redirectUri,
        scope: 'openid',
        code_challenge: challenge,
      };
      const page = await goThrough(new TestBrowser(open), authorizePath(asked));
      const code = responseOf(page).get('code') ?? '';
      const fields = { grant_type: 'authorization_code', code, redirect_uri: open.app.redirectUri };
      // Even with the client's key, which the attacker has not.
      for (const guess of [challenge, `${challenge}A`, pkce().verifier, undefined]) {
        const { status, json } = await askTokens(open, open.app, { ...fields, code_verifier: guess });
        expect([status, json.error]).toEqual([400, 'invalid_grant']);
      }
      expect((await askTokens(open, open.app, { ...fields, code_verifier: verifier })).status).toBe(200);
    } finally {
      await open.close();
    }
  });
});
