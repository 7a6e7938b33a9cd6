// An SMPP 3.4 server for the tests of internal/delivery/sms/smpp. It prints events and reads
// orders, each as one line of JSON, and ends when its standard input ends.
//
//   node server.mjs <system_id> <password> [<certificate.pem> <key.pem>]
//
// Orders: {"status": 88} answers every further submit_sm with that command_status,
// {"statuses": [0, 88]} only the next ones;
// {"mode": "normal" | "silent" | "close" | "nack" | "noid" | "mute" | "slow"} changes the
// kind of its answers; {"ids": [...]} are the next message ids; {"bind": 5} answers bind
// with that status; {"deliver": {...}} sends deliver_sm with a message in hexadecimal;
// {"body": "..."} sends deliver_sm with that body, in hexadecimal; {"answers": [...]} are
// the bodies of the next submit_sm_resp;
// {"enquire": true}, {"unbind": true}, {"query": true}, {"drop": true}, {"garbage": true}.
import {readFileSync} from 'node:fs';
import {createInterface} from 'node:readline';
import smpp from 'smpp';

const [systemID, password, certificate, key] = process.argv.slice(2);
const print = (event, more = {}) => process.stdout.write(JSON.stringify({event, ...more}) + '\n');
const sessions = new Set();
let mode = 'normal';
let status = 0;
let bindStatus = 0;
let ids = [];
let statuses = [];
let answers = [];
let sequence = 0x1000000;
let count = 0;
let outstanding = 0;

// refusal returns the command_status of a submit_sm that no carrier would accept, or 0.
function refusal(pdu) {
	if (!/^[1-9][0-9]{6,14}$/.test(pdu.destination_addr)) return smpp.ESME_RINVDSTADR;
	if (pdu.dest_addr_ton !== 1) return smpp.ESME_RINVDSTTON;
	if (pdu.dest_addr_npi !== 1) return smpp.ESME_RINVDSTNPI;
	if (![0, 8].includes(pdu.data_coding)) return smpp.ESME_RSYSERR;
	if (pdu.command_length > 16 + 512 && !pdu.message_payload) return smpp.ESME_RINVMSGLEN;
	return 0;
}

// frame writes a PDU with the status 0 and an unchanged body, given in hexadecimal.
function frame(session, command, number, body) {
	const octets = Buffer.from(body, 'hex');
	const header = Buffer.alloc(16);
	header.writeUInt32BE(16 + octets.length, 0);
	header.writeUInt32BE(command, 4);
	header.writeUInt32BE(number, 12);
	session.socket.write(Buffer.concat([header, octets]));
}

function submitted(session, pdu) {
	const wrong = refusal(pdu);
	if (wrong) {
		print('refused', {status: wrong});
		return session.send(pdu.response({command_status: wrong}));
	}
	const text = pdu.message_payload ?? pdu.short_message;
	outstanding++;
	print('submit', {
		text: text.message,
		header: (text.udh ?? []).map((h) => Buffer.from(h).toString('hex')),
		payload: pdu.message_payload !== undefined,
		coding: pdu.data_coding,
		esm: pdu.esm_class,
		source: pdu.source_addr, sourceTON: pdu.source_addr_ton, sourceNPI: pdu.source_addr_npi,
		to: pdu.destination_addr,
		service: pdu.service_type,
		registered: pdu.registered_delivery,
		outstanding,
		validFor: pdu.validity_period ? Math.round((pdu.validity_period - Date.now()) / 1000) : 0,
	});
	if (mode === 'silent') return;
	if (mode === 'close') return session.destroy();
	if (mode === 'nack') return session.send(new smpp.PDU('generic_nack', {sequence_number: pdu.sequence_number, command_status: smpp.ESME_RINVCMDID}));
	const refused = statuses.shift() ?? status;
	if (refused) {
		outstanding--;
		return session.send(pdu.response({command_status: refused}));
	}
	if (answers.length > 0) {
		outstanding--;
		return frame(session, 0x80000004, pdu.sequence_number, answers.shift());
	}
	count++;
	const message_id = mode === 'noid' ? '' : ids.shift() ?? 'm' + count;
	const answer = () => {
		outstanding--;
		session.send(pdu.response({message_id}));
	};
	mode === 'slow' ? setTimeout(answer, 300) : answer();
}

function accept(session) {
	let bound = false;
	sessions.add(session);
	session.on('error', () => session.destroy());
	session.on('close', () => {
		sessions.delete(session);
		print('closed');
	});
	session.on('bind_transceiver', (pdu) => {
		let refused = bindStatus;
		if (pdu.system_id !== systemID) refused ||= smpp.ESME_RINVSYSID;
		else if (pdu.password !== password) refused ||= smpp.ESME_RINVPASWD;
		else if (pdu.interface_version !== 0x34) refused ||= smpp.ESME_RBINDFAIL;
		else if (bound) refused ||= smpp.ESME_RALYBND;
		if (mode === 'silent') return;
		session.send(pdu.response({command_status: refused, system_id: refused ? undefined : 'smpptest'}));
		bound = !refused;
		print(refused ? 'notbound' : 'bound', {systemType: pdu.system_type});
	});
	session.on('submit_sm', (pdu) => bound ? submitted(session, pdu) : session.send(pdu.response({command_status: smpp.ESME_RINVBNDSTS})));
	session.on('enquire_link', (pdu) => {
		print('enquire_link');
		if (mode !== 'mute') session.send(pdu.response());
	});
	session.on('unbind', (pdu) => {
		print('unbind');
		session.send(pdu.response());
		session.close();
	});
	for (const name of ['deliver_sm_resp', 'enquire_link_resp', 'unbind_resp', 'generic_nack']) {
		session.on(name, (pdu) => print(name, {status: pdu.command_status}));
	}
}

function obey(order) {
	mode = order.mode ?? mode;
	status = order.status ?? status;
	statuses = order.statuses ?? statuses;
	bindStatus = order.bind ?? bindStatus;
	ids = order.ids ?? ids;
	answers = order.answers ?? answers;
	for (const session of sessions) {
		if (order.deliver) {
			const {message = '', times = 1, receipted_message_id, ...rest} = order.deliver;
			for (let i = 0; i < times; i++) {
				session.deliver_sm({
					source_addr_ton: 1, source_addr_npi: 1, source_addr: '491701234567', destination_addr: 'Example',
					short_message: Buffer.from(message, 'hex'), data_coding: 0,
					...(receipted_message_id === undefined ? {} : {receipted_message_id}), ...rest,
				});
			}
		}
		if (order.body !== undefined) frame(session, 5, sequence++, order.body);
		if (order.enquire) session.enquire_link();
		if (order.unbind) session.unbind();
		if (order.query) session.query_sm({message_id: 'm1'});
		if (order.drop) session.destroy();
		if (order.garbage) session.socket.write(Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n'));
	}
	print('obeyed');
}

const options = certificate ? {cert: readFileSync(certificate), key: readFileSync(key)} : {};
const server = smpp.createServer(options, accept);
server.on('error', (error) => print('error', {message: String(error)}));
server.listen(0, '127.0.0.1', () => print('listening', {port: server.address().port}));
createInterface({input: process.stdin}).on('line', (line) => obey(JSON.parse(line))).on('close', () => process.exit(0));
