# The lists of a user's factors.

# list USER [QUERY]
list() {
  call GET "/user_management/users/$1/auth_factors${2:+?$2}"
}

# listed prints the factors of $user in the given order, as they were enrolled.
listed() {
  if [[ $1 == asc ]]; then
    jq --compact-output reverse "$scratch/newest-first"
  else
    cat "$scratch/newest-first"
  fi
}

# is_page ALL FROM TO checks that the last answer is the part of ALL from FROM to TO.
is_page() {
  is 200 '$all[$from:$to] as $data | {object: "list", $data, list_metadata: {
    before: (if $from == 0 then null else $data[0].id end),
    after: (if $to == ($all | length) then null else $data[-1].id end)}}' \
    --argjson all "$1" --argjson from "$2" --argjson to "$3"
}

# list_all USER [QUERY] prints the factors of all pages, and counts them in $pages.
list_all() {
  local after=
  pages=0
  : >"$scratch/data"
  while [[ $after != null ]]; do
    list "$1" "${2-}${after:+&after=$after}"
    same status "$status" 200
    the '.data[]' >>"$scratch/data"
    after=$(the .list_metadata.after)
    pages=$((pages + 1))
  done
  all=$(jq --slurp --compact-output --sort-keys . "$scratch/data")
}

list_nothing() {
  list "$(new_user)"
  is 200 '{object: "list", data: [], list_metadata: {before: null, after: null}}'
}
step "list no factors" list_nothing

user=$(new_user)

list_the_newest() {
  for ((i = 0; i < 35; i++)); do
    enroll_for "$user" '{"type":"totp","totp_user":"account '"$i"'"}'
    object "$enrolled" '.totp |= {issuer, user}' >>"$scratch/enrolled"
  done
  jq --slurp --compact-output --sort-keys reverse "$scratch/enrolled" >"$scratch/newest-first"
  list "$user"
  is_page "$(listed desc)" 0 10
  echo "ten, the newest first, without secrets"
}
step "list the factors of a user" list_the_newest

list_pages() {
  local all start cursor=
  all=$(listed "$1")
  for start in 0 10 20 30; do
    list "$user" "limit=10&order=$1${cursor:+&after=$cursor}"
    is_page "$all" $start $((start == 30 ? 35 : start + 10))
    cursor=$(the .list_metadata.after)
  done
  cursor=$(the .list_metadata.before)
  for start in 20 10 0; do
    list "$user" "limit=10&order=$1&before=$cursor"
    is_page "$all" $start $((start + 10))
    cursor=$(the .list_metadata.before)
  done
  list "$user" "order=$1&after=$(jq --raw-output '.[4].id' <<<"$all")&before=$(jq --raw-output '.[9].id' <<<"$all")"
  same "the factors between two cursors" "$(object "$body" .data)" "$(object "$all" '.[5:9]')"
  echo "four pages forward by after, three back by before, and between the two"
}
list_pages_desc() { list_pages desc; }
list_pages_asc() { list_pages asc; }
step "list pages, desc" list_pages_desc
step "list pages, asc" list_pages_asc

list_badly() {
  while read -r query field reason; do
    list "$user" "$query"
    invalid "$field" "${field}_$reason"
  done <<'REQUESTS'
after=auth_factor_nonsense after invalid_cursor
before=nonsense before invalid_cursor
limit=101 limit out_of_range
limit=0 limit out_of_range
limit=many limit out_of_range
order=sideways order unsupported
REQUESTS
}
step "list with a bad cursor" list_badly

follow_after() {
  for order in desc asc; do
    list_all "$user" "order=$order"
    same "the list, $order" "$all" "$(listed $order)"
    same "the number of pages" $pages 4
  done
  echo "35 factors, in both orders"
}
step "list all pages" follow_after

list_many() {
  local many ids
  many=$(new_user)
  at_once 43 POST "/user_management/users/$many/auth_factors" '{"type":"totp"}' 7
  same "the statuses" "$(sort "$scratch/race.status" | uniq --count | tr -d ' ')" 301201
  ids=$(jq --slurp --compact-output 'map(.authentication_factor.id) | sort | reverse' "$scratch"/race.[0-9]*)
  list_all "$many" limit=100
  same "the ids" "$(jq --compact-output 'map(.id)' <<<"$all")" "$ids"
  same "the number of different ids" "$(jq 'unique | length' <<<"$ids")" 301
  same "the number of pages" $pages 4
  echo "four pages, each factor once"
}
step "list 301 factors" list_many

list_without_the_deleted() {
  local gone left
  gone=$(listed desc | jq --raw-output '.[17].id')
  call DELETE "/auth/factors/$gone"
  left=$(listed desc | jq --compact-output 'del(.[17])')
  list_all "$user"
  same "the list" "$all" "$left"
  list "$user" "limit=3&after=$gone"
  is_page "$left" 17 20
}
step "a deleted factor leaves the list" list_without_the_deleted

list_another_type() {
  local user
  user=$(new_user)
  phone
  enroll '{"type":"sms","phone_number":"'"$phone"'","user_id":"'"$user"'"}'
  same "what makes it different" "$(object "$body" '{type, user_id, sms, totp}')" \
    "$(object null '{type: "sms", $user_id, sms: {$phone_number}, totp: null}' --arg user_id "$user" --arg phone_number "$phone")"
  local all="[$body]"
  list "$user"
  is_page "$all" 0 1
}
step "list a factor that is not totp" list_another_type
