require "base64"
require "json"
require "openssl"
require "webrick"

key = Base64.decode64(ENV.fetch("SECRET").delete_prefix("whsec_"))
server = WEBrick::HTTPServer.new(
  BindAddress: "127.0.0.1", Port: Integer(ENV.fetch("PORT", "3000")),
  Logger: WEBrick::Log.new(File::NULL), AccessLog: []
)
server.mount_proc "/" do |request, response|
  id, at = request["webhook-id"], request["webhook-timestamp"]
  mac = OpenSSL::HMAC.digest("SHA256", key, "#{id}.#{at}.#{request.body}")
  want = "v1,#{Base64.strict_encode64(mac)}"
  signed = request["webhook-signature"].to_s.split.any? { |s| OpenSSL.secure_compare(want, s) }
  if !signed || (Time.now.to_i - at.to_i).abs > 300
    response.status = 401
  else
    event = JSON.parse(request.body)
    puts "#{event["event"]} #{event["id"]}" # store the id and the effect
    $stdout.flush
    response.status = 204
  end
end
server.start
