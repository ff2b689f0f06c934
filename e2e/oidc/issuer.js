// An issuer that misbehaves on demand, for the tests: `node issuer.js PORT`. It signs whatever it is told to.
//   POST /sign {header, claims, by}: a token; `by` is `issuer`, `stranger` (a key that it does not publish), `secret`
//   (the client's secret as a shared one), `public` (the public key as a shared secret), `nobody` (unsigned)
//   POST /answer: the ID token of the next POST /token
//   POST /rotate: new keys
import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { exportJWK, exportSPKI, generateKeyPair, SignJWT } from 'jose';

const [port] = process.argv.slice(2);
const issuer = `http://127.0.0.1:${port}`;
const encode = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
const bytes = (text) => new TextEncoder().encode(text);

let keys;
const stranger = await generateKeyPair('RS256');
async function rotate() {
  const pair = await generateKeyPair('RS256', { extractable: true });
  const kid = randomUUID();
  keys = { ...pair, kid, jwk: { ...(await exportJWK(pair.publicKey)), kid, alg: 'RS256', use: 'sig' } };
}
await rotate();

async function sign({ header = {}, claims, by = 'issuer' }) {
  const shared = by === 'secret' ? bytes('the-store-s-secret') : by === 'public' ? bytes(await exportSPKI(keys.publicKey)) : null;
  const full = { alg: shared ? 'HS256' : by === 'nobody' ? 'none' : 'RS256', kid: keys.kid, ...header };
  if (by === 'nobody') return `${encode(full)}.${encode(claims)}.`;
  const key = shared ?? (by === 'stranger' ? stranger : keys).privateKey;
  return new SignJWT(claims).setProtectedHeader(full).sign(key);
}

let answer = '';
const routes = {
  'GET /.well-known/openid-configuration': () => ({
    issuer,
    authorization_endpoint: `${issuer}/auth`,
    token_endpoint: `${issuer}/token`,
    jwks_uri: `${issuer}/jwks`,
    response_types_supported: ['code'],
    subject_types_supported: ['public'],
    id_token_signing_alg_values_supported: ['RS256', 'HS256', 'none'],
  }),
  'GET /jwks': () => ({ keys: [keys.jwk] }),
  'POST /sign': async (body) => sign(JSON.parse(body)),
  'POST /answer': (body) => (answer = body),
  'POST /token': () => ({ access_token: 'opaque', token_type: 'Bearer', expires_in: 60, id_token: answer }),
  'POST /rotate': rotate,
};

createServer(async (request, response) => {
  const pieces = [];
  for await (const piece of request) pieces.push(piece);
  const route = routes[`${request.method} ${request.url}`];
  const said = route ? await route(Buffer.concat(pieces).toString()) : undefined;
  const text = typeof said === 'object';
  response.writeHead(route ? 200 : 404, { 'content-type': text ? 'application/json' : 'text/plain' });
  response.end(text ? JSON.stringify(said) : said);
}).listen(Number(port), '127.0.0.1', () => console.log('ready'));
