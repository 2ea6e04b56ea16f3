// A module that lets in whoever shows a token with the scope <module>:read, and asks the hub which tokens are good.
// Node alone, no packages.
'use strict';
const crypto = require('crypto');
const fs = require('fs');
const http = require('http');

const { PORT, PARACHUTE_MODULE, PARACHUTE_HUB_INTROSPECTION_URL, PARACHUTE_MODULE_KEY_FILE } = process.env;
const GOOD_MS = 5000; // how long a good answer is believed: a revocation is noticed that late at most
const BAD_MS = 1000; // the same for a bad one
const STALE_MS = 30000; // how long a good answer is still believed while the hub cannot be asked
const MOST_ANSWERS = 1024;
const ASK_MS = 5000;

const agent = new http.Agent({ keepAlive: true });
const answers = new Map(); // hash of a token -> { at, until, answer }
const asking = new Map(); // hash of a token -> the question that is on its way

class Unavailable extends Error {}

// What the hub says about a token: { active: true, sub, scope, ... } or { active: false }.
function introspect(token) {
    const hash = crypto.createHash('sha256').update(token).digest('hex');
    const known = answers.get(hash);
    if (known && Date.now() < known.until) return Promise.resolve(known.answer);
    if (!asking.has(hash)) {
        const question = ask(token).then(
            (answer) => remember(hash, answer),
            (error) => {
                const recent = known && known.answer.active && Date.now() < known.at + STALE_MS;
                if (recent && Date.now() < known.answer.exp * 1000) return known.answer;
                throw error;
            },
        );
        asking.set(hash, question);
        question.catch(() => {}).finally(() => asking.delete(hash));
    }
    return asking.get(hash);
}

function remember(hash, answer) {
    const at = Date.now();
    const until = answer.active ? Math.min(at + GOOD_MS, answer.exp * 1000) : at + BAD_MS;
    answers.delete(hash);
    // A Map is in order of insertion, so the first one is the oldest.
    if (answers.size >= MOST_ANSWERS) answers.delete(answers.keys().next().value);
    answers.set(hash, { at, until, answer });
    return answer;
}

function ask(token) {
    return new Promise((resolve, reject) => {
        const fail = (why) => reject(new Unavailable(why));
        let key;
        try {
            key = fs.readFileSync(PARACHUTE_MODULE_KEY_FILE, 'utf8').trim();
        } catch (error) {
            return fail(error.message);
        }
        const body = `token=${encodeURIComponent(token)}`;
        const headers = {
            authorization: `Bearer ${key}`,
            'content-type': 'application/x-www-form-urlencoded',
            'content-length': Buffer.byteLength(body),
        };
        const options = { method: 'POST', agent, headers, timeout: ASK_MS };
        const request = http.request(PARACHUTE_HUB_INTROSPECTION_URL, options, (response) => {
            let text = '';
            response.on('data', (part) => (text += part));
            response.on('error', (error) => fail(error.message));
            response.on('end', () => {
                if (response.statusCode !== 200) return fail(`the hub answered ${response.statusCode}`);
                try {
                    resolve(JSON.parse(text));
                } catch (error) {
                    fail(error.message);
                }
            });
        });
        request.on('timeout', () => request.destroy(new Error('the hub does not answer')));
        request.on('error', (error) => {
            // The hub has closed a connection that was kept: that says nothing about the next one.
            const isGone = request.reusedSocket && ['ECONNRESET', 'EPIPE'].includes(error.code);
            return isGone ? ask(token).then(resolve, reject) : fail(error.message);
        });
        request.end(body);
    });
}

function say(response, status, object) {
    const body = `${JSON.stringify(object)}\n`;
    response.writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) });
    response.end(body);
}

const server = http.createServer(async (request, response) => {
    if (request.url.split('?')[0].endsWith('/health')) return say(response, 200, { status: 'ok' });
    const [, token] = /^bearer +(\S+)$/i.exec(request.headers.authorization || '') || [];
    if (!token) return say(response, 401, { error: 'unauthenticated' });
    let answer;
    try {
        answer = await introspect(token);
    } catch (error) {
        // Not the caller's fault: a 401 would make it throw its good token away.
        console.error(`cannot ask the hub about a token: ${error.message}`);
        return say(response, 503, { error: 'auth_unavailable' });
    }
    if (!answer.active) return say(response, 401, { error: 'unauthenticated' });
    if (!answer.scope.split(' ').includes(`${PARACHUTE_MODULE}:read`)) {
        return say(response, 403, { error: 'insufficient_scope' });
    }
    return say(response, 200, { subject: answer.sub, scope: answer.scope });
});
server.listen(Number(PORT), '127.0.0.1');
