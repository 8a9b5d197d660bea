import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { Parameters } from '../../src/protocol/message.ts';
import { codeChallenge, verifierMatches } from '../../src/protocol/pkce.ts';

// RFC 7636 Appendix B.
const VERIFIER = 'dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk';
const CHALLENGE = 'E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM';

const s256 = (verifier: string) => createHash('sha256').update(verifier).digest('base64url');

describe('the code challenge of a request (OAuth 2.1 §4.1.1)', () => {
  it('is the one of RFC 7636 Appendix B', () => {
    expect(
      codeChallenge(
        new Parameters([
          ['code_challenge', CHALLENGE],
          ['code_challenge_method', 'S256'],
        ]),
        true,
      ),
    ).toBe(CHALLENGE);
  });

  it.each<[string, Record<string, string>]>([
    ['missing', { code_challenge_method: 'S256' }],
    ['without a method, which means plain', { code_challenge: CHALLENGE }],
    ['plain', { code_challenge: CHALLENGE, code_challenge_method: 'plain' }],
    ['s256 in lower case', { code_challenge: CHALLENGE, code_challenge_method: 's256' }],
    ['too short', { code_challenge: CHALLENGE.slice(1), code_challenge_method: 'S256' }],
    ['too long', { code_challenge: `${CHALLENGE}A`, code_challenge_method: 'S256' }],
    ['padded', { code_challenge: `${CHALLENGE.slice(1)}=`, code_challenge_method: 'S256' }],
    ['base64 of the other alphabet', { code_challenge: CHALLENGE.replace('-', '+'), code_challenge_method: 'S256' }],
    ['followed by a line feed', { code_challenge: `${CHALLENGE}\n`, code_challenge_method: 'S256' }],
  ])('is refused when it is %s, demanded or not', (_what, parameters) => {
    for (const required of [true, false])
      expect(() => codeChallenge(new Parameters(Object.entries(parameters)), required)).toThrow(
        expect.objectContaining({ code: 'invalid_request' }),
      );
  });

  it('may be left out by a client that is registered so, and by no other', () => {
    const nothing = new Parameters([]);
    expect(codeChallenge(nothing, false)).toBeUndefined();
    expect(() => codeChallenge(nothing, true)).toThrow(expect.objectContaining({ code: 'invalid_request' }));
  });
});

describe('the code verifier (RFC 7636 §4.1, §4.6)', () => {
  it.each([VERIFIER, 'a'.repeat(43), 'a'.repeat(128), `${'~'.repeat(40)}-._`])(
    '%s opens its own challenge',
    (verifier) => {
      expect(verifierMatches(verifier, s256(verifier))).toBe(true);
      expect(verifierMatches(verifier, CHALLENGE)).toBe(verifier === VERIFIER);
    },
  );

  it.each([
    undefined,
    '',
    'a'.repeat(42),
    'a'.repeat(129),
    `${VERIFIER}=`,
    `${VERIFIER} `,
    `${VERIFIER}\n`,
    `${'a'.repeat(42)}é`,
    `${'a'.repeat(42)}+`,
  ])('%j opens nothing, not even its own digest', (verifier) => {
    expect(verifierMatches(verifier, s256(verifier ?? ''))).toBe(false);
  });

  it('goes with a challenge: sent for a code without one, that one was taken away (RFC 9700 §4.8.2)', () => {
    expect(verifierMatches(undefined, undefined)).toBe(true);
    expect(verifierMatches(VERIFIER, undefined)).toBe(false);
    expect(verifierMatches('', undefined)).toBe(false);
  });

  it('is not the challenge itself (plain)', () => {
    expect(verifierMatches(CHALLENGE, CHALLENGE)).toBe(false);
  });
});
