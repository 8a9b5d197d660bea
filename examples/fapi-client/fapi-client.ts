/**
 * A FAPI 2.0 client, from the first request to the last, to be read from top to bottom. It shares no secret with the server:
 * it proves who it is, and that its tokens are its own, with keys that never leave it.
 *
 *   this program                      the browser                     Gatehouse
 *    │── 2. the request, pushed ─────────────────────────────────────▶ /par         signed assertion, DPoP proof
 *    │◀─ a request_uri ───────────────────────────────────────────────│
 *    │── 3. an address ────────────────▶│── client_id, request_uri ──▶ /authorize    sign-in, consent
 *    │◀─ 4. a signed response (JARM) ───│◀──────────────────────────────│
 *    │── 5. the code ────────────────────────────────────────────────▶ /token       signed assertion, DPoP proof
 *    │── 6. the access token ────────────────────────────────────────▶ /userinfo    DPoP proof
 *
 * `GATEHOUSE_PROFILE=fapi2-security npm start` in one terminal, `npm run demo:fapi` in another. With
 * `npm run demo:fapi -- --signed-request` the request is a signed one too (JAR).
 */
import { setTimeout } from 'node:timers/promises';
import * as client from 'openid-client';
import { receiveResponse } from './loopback.ts';
import { readSettings, tellFaults } from './settings.ts';

/** Seconds that a pushed request waits for a browser: what Gatehouse says in `expires_in`, which the library keeps to itself. */
const REQUEST_LIFETIME = 90;
const signsRequest = process.argv.includes('--signed-request');

await tellFaults(async () => {
  const { issuer, clientId, privateKey } = await readSettings();

  // 1. Everything about the server comes from its metadata (RFC 8414), which must name the very issuer that was asked
  //    (FAPI 2.0 Security Profile §5.3.3.1). The client proves itself by signing an assertion with its private key
  //    (private_key_jwt, RFC 7523); the library addresses it to the issuer, as §5.3.2.1-8 demands.
  const gatehouse = await client.discovery(new URL(issuer), clientId, undefined, client.PrivateKeyJwt(privateKey), {
    execute: [
      // The response comes as a JWT that Gatehouse signed (JARM): nobody can change it on its way through the browser.
      client.useJwtResponseMode,
      // ID tokens come straight from Gatehouse; their signature is verified all the same.
      client.enableNonRepudiationChecks,
      // Plain http, because the issuer is loopback. A real client has no such line.
      ...(issuer.startsWith('http://localhost:') ? [client.allowInsecureRequests] : []),
    ],
    timeout: 5,
  });
  console.log(`1. ${issuer} is the server, ${clientId} is the client`);

  // A key for this run alone: tokens are bound to it (DPoP, RFC 9449), so whoever steals one without the key has nothing.
  const DPoP = client.getDPoPHandle(gatehouse, await client.randomDPoPKeyPair('ES256'));

  // 2. The request does not travel through the browser: it is pushed (PAR, RFC 9126), by a client that has authenticated.
  //    The proof sent with it binds the coming code to the key too (RFC 9449 §10.1).
  const loopback = await receiveResponse();
  const pkceCodeVerifier = client.randomPKCECodeVerifier();
  const expectedState = client.randomState();
  const expectedNonce = client.randomNonce();
  const request = {
    redirect_uri: loopback.redirectUri,
    scope: 'openid profile email',
    state: expectedState,
    nonce: expectedNonce,
    code_challenge: await client.calculatePKCECodeChallenge(pkceCodeVerifier),
    code_challenge_method: 'S256',
  };
  const push = async () => {
    // Signed, it proves later what was asked for, and by whom (JAR, RFC 9101; FAPI 2.0 Message Signing §5.3).
    const parameters = signsRequest
      ? (await client.buildAuthorizationUrlWithJAR(gatehouse, request, privateKey)).searchParams
      : request;
    return client.buildAuthorizationUrlWithPAR(gatehouse, parameters, { DPoP });
  };

  // 3. What the browser carries is the client's name and a reference that is good for one sign-in. It must come soon; for
  //    somebody who comes later the request is pushed again. Whoever came in time signs in without haste.
  let response: URL | undefined;
  while (response === undefined) {
    const address = await push();
    console.log(`2. the request is pushed${signsRequest ? ', as a JWT that the client signed' : ''}`);
    console.log(
      `3. open this address within ${REQUEST_LIFETIME} seconds, and sign in as alice with the password wonderland:\n\n   ${address.href}\n`,
    );
    const over = setTimeout(REQUEST_LIFETIME * 1000, undefined, { ref: false });
    response = await Promise.race([loopback.response, over]);
    if (response === undefined) console.log('   nobody is back yet; if you did not open it in time, take the next one');
  }

  // 4. The response arrived on this machine. Who sent it, for whom, until when, and that nobody changed it: the library
  //    checks all of that in the next step, before it looks at the code.
  console.log('4. the response is here, as a JWT');

  // 5. The code, with the verifier of its challenge, an assertion and a proof, becomes tokens.
  const tokens = await client.authorizationCodeGrant(
    gatehouse,
    response,
    { pkceCodeVerifier, expectedState, expectedNonce, idTokenExpected: true },
    undefined,
    { DPoP },
  );
  const claims = tokens.claims();
  if (claims === undefined) throw new Error('There is no ID token.');
  console.log(`5. tokens of type ${tokens.token_type}, good for ${tokens.expires_in} seconds, for ${tokens.scope}`);
  console.log('   the ID token says:', claims);

  // 6. Each use of the access token needs a proof of its own, made for this method, this address and this token.
  const userinfo = await client.fetchUserInfo(gatehouse, tokens.access_token, claims.sub, { DPoP });
  console.log('6. /userinfo says:', userinfo);

  // 7. What a thief would get who has the token and not the key.
  const { userinfo_endpoint: endpoint = '' } = gatehouse.serverMetadata();
  const stolen = await fetch(endpoint, { headers: { authorization: `Bearer ${tokens.access_token}` } });
  console.log(`7. the same token without the key: ${stolen.status}`);
});
